package oauth

import (
	"net/http"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/web"
)

// Rates, per address. A whole office may sit behind one address and connect
// at nine o'clock, so they let hundreds through at once; what they hold back
// is a program that does not stop.
const (
	// beginPerSecond and beginBurst are for requests that begin something:
	// registrations and authorizations.
	beginPerSecond = 5
	beginBurst     = 600
	// failPerSecond and failBurst are for token requests that fail. One that
	// succeeds is never held back: it had a secret of ours.
	failPerSecond = 5
	failBurst     = 600
	// One client that fails in a loop must not use up what its address has.
	clientFailPerSecond = 1
	clientFailBurst     = 60
)

// limits are the rates that strangers are held to.
type limits struct {
	begin, fail, clientFail *web.Limiter
}

func newLimits(now func() time.Time) limits {
	return limits{
		begin:      web.NewLimiter(beginPerSecond, beginBurst, now),
		fail:       web.NewLimiter(failPerSecond, failBurst, now),
		clientFail: web.NewLimiter(clientFailPerSecond, clientFailBurst, now),
	}
}

// limitFailures answers failures that come too fast with 429. Guessing costs
// the guesser, and nobody else: a good request is never asked to wait.
func (s *Server) limitFailures(h web.HandlerFunc) web.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		err := h(w, r)
		if err == nil || oauthError(err).Status >= http.StatusInternalServerError {
			return err
		}
		address := s.Site.ClientAddress(r)
		if address.IsLoopback() {
			return err
		}
		id, _, basic := r.BasicAuth()
		if !basic {
			id = r.PostForm.Get("client_id") // parsed by h, or empty
		}
		key := web.AddressKey(address)
		if wait := s.limits.clientFail.Take(key + " " + string(grant.ClientID(strings.TrimSpace(id)).Key())); wait > 0 {
			return web.TooFast(wait)
		}
		if wait := s.limits.fail.Take(key); wait > 0 {
			return web.TooFast(wait)
		}
		return err
	}
}
