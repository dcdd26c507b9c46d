package sso

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	purposeFlow = "sso flow"
	// flowLifetime is how long somebody may take at the provider.
	flowLifetime = 30 * time.Minute
	// maxFlows bounds the sign-ins under way in one browser: each is a cookie
	// of up to 12 KB, and all come with every request.
	maxFlows = 3
	// chunkBytes is how much of a flow goes into one cookie. Browsers take
	// 4,096 bytes with name and attributes (RFC 6265bis §5.6).
	chunkBytes = 3600
	// maxChunks bounds one flow: the longest way back holds a client id of 3
	// KB and a state of 4 KB.
	maxChunks = 6
)

// flow is a sign-in that is under way. It lives in a cookie of the browser
// that began it, and nowhere else, so that nobody can be made to finish
// somebody else's, and that a flood of them has nothing to fill. Its id is the
// state, or RelayState, that travels through the provider.
type flow struct {
	ID       string `json:"-"`
	Provider ID     `json:"p"`
	// Return is the local path to go on at.
	Return         string `json:"r"`
	Reauthenticate bool   `json:"a,omitempty"`
	Started        int64  `json:"s"` // Unix milliseconds
}

func (f flow) started() time.Time { return time.UnixMilli(f.Started) }

var errNoFlow = errors.New("the sign-in was not begun in this browser, or too long ago")

// flowCookie is the name of a flow's cookies but for the number of the chunk.
// The prefix makes the browser refuse one from a subdomain, which could
// otherwise plant its own sign-in.
func (s *Server) flowCookie() string {
	if s.Site.Secure() {
		return "__Host-oriel-sso-"
	}
	return "oriel-sso-"
}

// begin gives a flow an id and the browser its cookies.
func (s *Server) begin(w http.ResponseWriter, r *http.Request, f *flow) {
	s.forgetOldest(w, r)
	f.ID = rand.Text()
	text := s.Steps.Sign(purposeFlow+f.ID, f, flowLifetime)
	for n := 0; len(text) > 0; n++ {
		chunk := text[:min(chunkBytes, len(text))]
		text = text[len(chunk):]
		s.setCookie(w, f.ID, n, chunk, int(flowLifetime/time.Second))
	}
}

func (s *Server) setCookie(w http.ResponseWriter, id string, n int, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: s.flowCookie() + id + "-" + strconv.Itoa(n), Value: value, Path: "/", MaxAge: maxAge,
		Secure: s.Site.Secure(), HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// forgetOldest makes room for another flow. Browsers send older cookies first
// (RFC 6265 §5.4).
func (s *Server) forgetOldest(w http.ResponseWriter, r *http.Request) {
	var ids []string
	for _, c := range r.Cookies() {
		if id, _, ok := s.cookieOf(c); ok && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	for len(ids) >= maxFlows {
		s.forget(w, r, ids[0])
		ids = ids[1:]
	}
}

// cookieOf says to which flow a cookie belongs, and which chunk it is.
func (s *Server) cookieOf(c *http.Cookie) (id string, n int, ok bool) {
	rest, ok := strings.CutPrefix(c.Name, s.flowCookie())
	if !ok {
		return "", 0, false
	}
	id, number, ok := strings.Cut(rest, "-")
	n, err := strconv.Atoi(number)
	return id, n, ok && err == nil && n >= 0 && n < maxChunks
}

// forget takes a flow's cookies from the browser.
func (s *Server) forget(w http.ResponseWriter, r *http.Request, id string) {
	for _, c := range r.Cookies() {
		if of, n, ok := s.cookieOf(c); ok && of == id {
			s.setCookie(w, id, n, "", -1)
		}
	}
}

// resume returns the flow of an id that this browser began with a provider.
// Errors wrap errNoFlow.
func (s *Server) resume(r *http.Request, p *Provider, id string) (flow, error) {
	f := flow{}
	var chunks [maxChunks]string
	for _, c := range r.Cookies() {
		if of, n, ok := s.cookieOf(c); ok && of == id && id != "" {
			chunks[n] = c.Value
		}
	}
	if err := s.Steps.Open(purposeFlow+id, strings.Join(chunks[:], ""), &f); err != nil {
		return flow{}, fmt.Errorf("%w: %w", errNoFlow, err)
	}
	if f.Provider != p.ID {
		return flow{}, fmt.Errorf("%w: it was begun with another provider", errNoFlow)
	}
	f.ID = id
	return f, nil
}
