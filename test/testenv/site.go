package testenv

import (
	"net/url"
	"slices"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/chromedp"
)

// Visit is what a browser sent to a Site.
type Visit struct {
	Method string
	Query  url.Values
	// Form is the body of a POST.
	Form url.Values
}

// Site is a web site of somebody else under https, which exists for one
// browser only. It is safe for concurrent use.
type Site struct {
	mu     sync.Mutex // guards visits
	visits []Visit
}

// Visits returns what the browser has sent so far.
func (s *Site) Visits() []Visit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.visits)
}

// Last waits for a visit beyond the first n and returns the newest.
func (s *Site) Last(t testing.TB, n int) Visit {
	t.Helper()
	Within(t, ShortWait, "the browser comes to the site", func() error {
		if len(s.Visits()) <= n {
			return errNoVisit
		}
		return nil
	})
	v := s.Visits()
	return v[len(v)-1]
}

type siteError string

func (e siteError) Error() string { return string(e) }

const errNoVisit siteError = "no visit"

// Site makes https://host answer every request with a page whose heading is
// "The site has its answer".
func (b *Browser) Site(host string) *Site {
	b.t.Helper()
	s := &Site{}
	if err := chromedp.Listen(b.ctx, func(ev any) {
		paused, ok := ev.(*fetch.EventRequestPaused)
		if !ok {
			return
		}
		v := Visit{Method: paused.Request.Method}
		if u, err := url.Parse(paused.Request.URL); err == nil && u.Path != "/favicon.ico" {
			v.Query = u.Query()
			var body []byte
			for _, e := range paused.Request.PostDataEntries {
				body = append(body, e.Bytes...)
			}
			v.Form, _ = url.ParseQuery(string(body))
			s.mu.Lock()
			s.visits = append(s.visits, v)
			s.mu.Unlock()
		}
		// Listeners must not wait for the browser.
		go func() {
			_, _ = chromedp.Call(b.ctx, fetch.FulfillRequest, fetch.FulfillRequestParams{
				RequestID: paused.RequestID, ResponseCode: 200,
				ResponseHeaders: []*fetch.HeaderEntry{{Name: "Content-Type", Value: "text/html; charset=utf-8"}},
				Body:            []byte("<!doctype html><title>Done</title><h1>The site has its answer</h1>"),
			})
		}()
	}); err != nil {
		b.t.Fatalf("listen to Chromium: %v", err)
	}
	if _, err := chromedp.Call(b.ctx, fetch.Enable, fetch.EnableParams{Patterns: []*fetch.RequestPattern{{URLPattern: "https://" + host + "/*"}}}); err != nil {
		b.t.Fatalf("make the site %s: %v", host, err)
	}
	return s
}
