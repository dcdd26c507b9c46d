package clientdoc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/oauth/spec"
)

const (
	// fetchTimeout bounds a fetch from the look-up of the name to the last
	// byte: a person is waiting for a page.
	fetchTimeout = 5 * time.Second

	// minFresh and maxFresh bound for how long a document is used without
	// asking, whatever its host says: below, anybody could make us hammer a
	// host; above, a withdrawn redirect URI would live on for too long.
	minFresh = 5 * time.Minute
	maxFresh = 24 * time.Hour
	// defaultFresh is for hosts that say nothing.
	defaultFresh = time.Hour
)

// Copy is a good answer of a host, as the store keeps it.
type Copy struct {
	URL  string
	Body []byte
	// ETag and LastModified are the validators of RFC 9110 §8.8, as sent.
	ETag, LastModified string
	// FetchedAt is when the host last said that this is its document.
	FetchedAt time.Time
	// FreshUntil is until when it is used without asking.
	FreshUntil time.Time
}

// fetcher fetches JSON documents of strangers.
type fetcher struct {
	http    *http.Client
	timeout time.Duration
	now     func() time.Time
}

// fetch gets a document. With a copy it asks whether that is still good, and
// returns it with new times if so. Errors: *Error.
func (f *fetcher) fetch(ctx context.Context, url string, have Copy) (Copy, error) {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Copy{}, &Error{URL: url, Reason: ReasonURL, Cause: err}
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "Oriel (OAuth client ID metadata documents)")
	if len(have.Body) > 0 {
		if have.ETag != "" {
			req.Header.Set("If-None-Match", have.ETag)
		} else if have.LastModified != "" {
			req.Header.Set("If-Modified-Since", have.LastModified)
		}
	}
	res, err := f.http.Do(req)
	if err != nil {
		return Copy{}, transportError(ctx, url, err)
	}
	defer res.Body.Close() //nolint:errcheck // nothing is left to lose
	refuse := func(r Reason, format string, args ...any) (Copy, error) {
		return Copy{}, &Error{URL: url, Reason: r, Cause: fmt.Errorf(format, args...)}
	}
	now := f.now()
	switch s := res.StatusCode; {
	case s == http.StatusNotModified && len(have.Body) > 0:
		have.FetchedAt, have.FreshUntil = now, now.Add(freshness(res.Header, now))
		return have, nil
	case s >= 300 && s < 400:
		// The draft forbids following: who may redirect on a host (an open
		// redirector is enough) would speak for it.
		return refuse(ReasonRedirect, "status %d", s)
	case s == http.StatusGone:
		return refuse(ReasonGone, "status %d", s)
	case s != http.StatusOK:
		return refuse(ReasonStatus, "status %d", s)
	}
	if ct := res.Header.Get("Content-Type"); !isJSON(ct) {
		return refuse(ReasonMediaType, "content type %q", clip(ct))
	}
	if ce := res.Header.Get("Content-Encoding"); ce != "" && ce != "identity" {
		return refuse(ReasonMediaType, "content encoding %q, which was not asked for", clip(ce))
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, spec.MaxClientDocumentBytes+1))
	if err == nil {
		err = ctx.Err() // what ends because we hang up may look complete
	}
	if err != nil {
		return Copy{}, transportError(ctx, url, err)
	}
	if len(body) > spec.MaxClientDocumentBytes {
		return refuse(ReasonTooLarge, "more than %d bytes", spec.MaxClientDocumentBytes)
	}
	return Copy{
		URL: url, Body: body, ETag: short(res.Header.Get("ETag")), LastModified: short(res.Header.Get("Last-Modified")),
		FetchedAt: now, FreshUntil: now.Add(freshness(res.Header, now)),
	}, nil
}

// maxValidatorBytes bounds what we send back to a host.
const maxValidatorBytes = 256

func short(validator string) string {
	if len(validator) > maxValidatorBytes {
		return ""
	}
	return validator
}

// isJSON accepts application/json and application/<anything>+json.
func isJSON(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	sub, ok := strings.CutPrefix(t, "application/")
	return ok && (sub == "json" || strings.HasSuffix(sub, "+json"))
}

// transportError finds out what went wrong on the way.
func transportError(ctx context.Context, url string, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return &Error{URL: url, Reason: e.Reason, Cause: e.Cause}
	}
	e := &Error{URL: url, Reason: ReasonUnreachable, Cause: err}
	var (
		certificate *tls.CertificateVerificationError
		unknown     x509.UnknownAuthorityError
		host        x509.HostnameError
		record      tls.RecordHeaderError
		alert       tls.AlertError
		timeout     net.Error
	)
	switch {
	case errors.Is(err, errAddress):
		e.Reason = ReasonAddress
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		e.Reason = ReasonTooSlow
	case errors.As(err, &certificate), errors.As(err, &unknown), errors.As(err, &host), errors.As(err, &record), errors.As(err, &alert):
		e.Reason = ReasonTLS
	}
	return e
}

// freshness is for how long an answer may be used without asking (RFC 9111
// §4.2), within our bounds.
func freshness(h http.Header, now time.Time) time.Duration {
	return min(max(statedFreshness(h, now), minFresh), maxFresh)
}

func statedFreshness(h http.Header, now time.Time) time.Duration {
	age := seconds(h.Get("Age"))
	maxAge := time.Duration(-1)
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			maxAge = seconds(strings.Trim(value, `"`))
		}
	}
	if maxAge >= 0 {
		return maxAge - age
	}
	if text := h.Get("Expires"); text != "" {
		expires, err := http.ParseTime(text)
		if err != nil {
			return 0 // RFC 9111 §5.3: it has expired
		}
		date, err := http.ParseTime(h.Get("Date"))
		if err != nil {
			date = now
		}
		return expires.Sub(date) - age
	}
	return defaultFresh
}

// seconds reads a count of seconds (RFC 9111 §1.2.2); what cannot be read is
// none.
func seconds(text string) time.Duration {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 31)
	if err != nil {
		if errors.Is(err, strconv.ErrRange) {
			return maxFresh
		}
		return 0
	}
	return time.Duration(n) * time.Second
}
