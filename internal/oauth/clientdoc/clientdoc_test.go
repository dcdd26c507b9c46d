package clientdoc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/oauth/clientdoc"
	"github.com/orielhq/oriel/internal/store"
	"github.com/orielhq/oriel/internal/store/storetest"
	"github.com/orielhq/oriel/internal/testkit"
)

const docURL = "https://client.example/oauth/client.json"

func body(id string) string {
	return `{"client_id":"` + id + `","client_name":"Example","redirect_uris":["http://127.0.0.1/callback"]}`
}

// watched is the real store, and keeps the events.
type watched struct {
	*store.DB
	mu     sync.Mutex // guards events
	events []audit.Event
}

func (w *watched) RecordEvent(ctx context.Context, ev audit.Event) error {
	w.mu.Lock()
	w.events = append(w.events, ev)
	w.mu.Unlock()
	return w.DB.RecordEvent(ctx, ev)
}

func (w *watched) details() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, ev := range w.events {
		all = append(all, string(ev.Kind)+" "+ev.Detail)
	}
	return strings.Join(all, "\n")
}

type fixture struct {
	*clientdoc.Documents
	web   *testkit.Web
	db    *watched
	clock *testkit.Clock
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	db, err := store.Open(t.Context(), storetest.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	f := &fixture{web: testkit.NewWeb(t), db: &watched{DB: db}, clock: &testkit.Clock{}}
	f.restart(t, f.web.Network)
	return f
}

// restart forgets what is in memory.
func (f *fixture) restart(t *testing.T, n clientdoc.Network) {
	t.Helper()
	var err error
	if f.Documents, err = clientdoc.New(clientdoc.Config{Store: f.db, Now: f.clock.Now, Network: n}); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) want(t *testing.T, url string, source clientdoc.Source) clientdoc.Document {
	t.Helper()
	d, err := f.Client(t.Context(), url)
	if err != nil || d.Source != source {
		t.Fatalf("%s: %q, %v, want %q", url, d.Source, err, source)
	}
	return d
}

func (f *fixture) wantRefused(t *testing.T, url string, reason clientdoc.Reason) *clientdoc.Error {
	t.Helper()
	_, err := f.Client(t.Context(), url)
	e, ok := errors.AsType[*clientdoc.Error](err)
	if !ok || e.Reason != reason {
		t.Fatalf("%s: %v, want reason %q", url, err, reason)
	}
	if !strings.Contains(f.db.details(), "client_document.refused "+string(reason)+": "+url) {
		t.Errorf("reason %q of %s is not in the audit:\n%s", reason, url, f.db.details())
	}
	if e.Public() == "" || e.Next() == "" || strings.Contains(e.Public(), "127.") {
		t.Errorf("what strangers see: %q %q", e.Public(), e.Next())
	}
	return e
}

func TestCase018_FetchedAndCached(t *testing.T) {
	f := newFixture(t)
	f.web.JSON(docURL, body(docURL), "Cache-Control", "max-age=3600", "ETag", `"one"`)
	for range 3 {
		d := f.want(t, docURL, clientdoc.Fetched)
		if d.Metadata.Name != "Example" || len(d.Metadata.RedirectURIs) != 1 {
			t.Fatalf("%+v", d.Metadata)
		}
	}
	f.clock.Advance(59 * time.Minute)
	f.want(t, docURL, clientdoc.Fetched)
	f.restart(t, f.web.Network)
	f.want(t, docURL, clientdoc.Fetched)
	if n := f.web.Hits(docURL); n != 1 {
		t.Fatalf("fetched %d times", n)
	}
	// Not changed: the host says so without sending it.
	f.web.Handle(docURL, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != `"one"` {
			t.Errorf("If-None-Match %q", r.Header.Get("If-None-Match"))
		}
		w.Header().Set("Cache-Control", "max-age=7200")
		w.WriteHeader(http.StatusNotModified)
	})
	f.clock.Advance(2 * time.Minute)
	f.want(t, docURL, clientdoc.Fetched)
	f.clock.Advance(119 * time.Minute)
	f.want(t, docURL, clientdoc.Fetched)
	if n := f.web.Hits(docURL); n != 2 {
		t.Fatalf("fetched %d times", n)
	}
}

func TestRFC9111_4_2_FreshnessWithinBounds(t *testing.T) {
	for name, c := range map[string]struct {
		header []string
		fresh  time.Duration
	}{
		"no-store":      {[]string{"Cache-Control", "no-store"}, 5 * time.Minute},
		"no-cache":      {[]string{"Cache-Control", "max-age=9999, no-cache"}, 5 * time.Minute},
		"max-age=0":     {[]string{"Cache-Control", "max-age=0"}, 5 * time.Minute},
		"max-age":       {[]string{"Cache-Control", "public, max-age=1800"}, 30 * time.Minute},
		"age":           {[]string{"Cache-Control", "max-age=1800", "Age", "600"}, 20 * time.Minute},
		"huge":          {[]string{"Cache-Control", "max-age=99999999999999999999"}, 24 * time.Hour},
		"a year":        {[]string{"Cache-Control", "max-age=31536000"}, 24 * time.Hour},
		"expires":       {[]string{"Date", "Mon, 02 Jan 2006 15:04:05 GMT", "Expires", "Mon, 02 Jan 2006 17:04:05 GMT"}, 2 * time.Hour},
		"expires wrong": {[]string{"Expires", "0"}, 5 * time.Minute},
		"nothing":       {nil, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.web.JSON(docURL, body(docURL), c.header...)
			f.want(t, docURL, clientdoc.Fetched)
			f.clock.Advance(c.fresh - time.Minute)
			f.want(t, docURL, clientdoc.Fetched)
			if n := f.web.Hits(docURL); n != 1 {
				t.Fatalf("asked %d times before %s", n, c.fresh)
			}
			f.clock.Advance(2 * time.Minute)
			f.want(t, docURL, clientdoc.Fetched)
			if n := f.web.Hits(docURL); n != 2 {
				t.Fatalf("asked %d times after %s", n, c.fresh)
			}
		})
	}
}

func TestCase019_Refused(t *testing.T) {
	f := newFixture(t)
	page := func(status int, contentType, text string, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
		}
	}
	const j = "application/json"
	for i, c := range []struct {
		reason clientdoc.Reason
		page   func(url string) http.HandlerFunc
	}{
		{clientdoc.ReasonMismatch, func(u string) http.HandlerFunc { return page(200, j, body(u+"/")) }},
		{clientdoc.ReasonMismatch, func(string) http.HandlerFunc { return page(200, j, `{}`) }},
		{clientdoc.ReasonMismatch, func(u string) http.HandlerFunc { return page(200, j, body(strings.ToUpper(u))) }},
		{clientdoc.ReasonRedirectURIs, func(u string) http.HandlerFunc { return page(200, j, `{"client_id":"`+u+`"}`) }},
		{clientdoc.ReasonRedirectURIs, func(u string) http.HandlerFunc {
			return page(200, j, `{"client_id":"`+u+`","redirect_uris":["javascript:alert(1)"]}`)
		}},
		{clientdoc.ReasonSecret, func(u string) http.HandlerFunc {
			return page(200, j, `{"client_id":"`+u+`","client_secret":"s","redirect_uris":["http://127.0.0.1/"]}`)
		}},
		{clientdoc.ReasonMetadata, func(u string) http.HandlerFunc {
			return page(200, j, `{"client_id":"`+u+`","token_endpoint_auth_method":"client_secret_basic","redirect_uris":["http://127.0.0.1/"]}`)
		}},
		{clientdoc.ReasonNotJSON, func(string) http.HandlerFunc { return page(200, j, "<html>") }},
		{clientdoc.ReasonNotJSON, func(string) http.HandlerFunc { return page(200, j, `["x"]`) }},
		{clientdoc.ReasonMediaType, func(u string) http.HandlerFunc { return page(200, "text/html", body(u)) }},
		{clientdoc.ReasonMediaType, func(u string) http.HandlerFunc { return page(200, j, body(u), "Content-Encoding", "gzip") }},
		{clientdoc.ReasonTooLarge, func(string) http.HandlerFunc { return page(200, j, strings.Repeat(" ", 64<<10+1)) }},
		{clientdoc.ReasonRedirect, func(string) http.HandlerFunc { return page(302, j, "", "Location", docURL) }},
		{clientdoc.ReasonRedirect, func(u string) http.HandlerFunc { return page(308, j, "", "Location", u) }},
		{clientdoc.ReasonStatus, func(u string) http.HandlerFunc { return page(404, j, body(u)) }},
		{clientdoc.ReasonStatus, func(u string) http.HandlerFunc { return page(500, j, body(u)) }},
		{clientdoc.ReasonStatus, func(u string) http.HandlerFunc { return page(201, j, body(u)) }},
		{clientdoc.ReasonGone, func(u string) http.HandlerFunc { return page(410, j, body(u)) }},
	} {
		u := fmt.Sprintf("https://client%d.example/c.json", i)
		f.web.Handle(u, c.page(u))
		f.wantRefused(t, u, c.reason)
	}
	if n := f.web.Hits(docURL); n != 0 {
		t.Error("a redirect was followed")
	}
	// The host hangs, before and in the middle of its answer.
	f.SetTimeout(50 * time.Millisecond)
	for i, begin := range []bool{false, true} {
		u := fmt.Sprintf("https://slow%d.example/c.json", i)
		f.web.Handle(u, func(w http.ResponseWriter, r *http.Request) {
			if begin {
				w.Header().Set("Content-Type", j)
				_, _ = io.WriteString(w, "{")
				_ = http.NewResponseController(w).Flush()
			}
			<-r.Context().Done()
		})
		f.wantRefused(t, u, clientdoc.ReasonTooSlow)
	}
}

func TestCase020_URLsThatAreNotFetched(t *testing.T) {
	f := newFixture(t)
	for u, reason := range map[string]clientdoc.Reason{
		"http://client.example/c.json":           clientdoc.ReasonScheme,
		"HTTPS://client.example/c.json":          clientdoc.ReasonScheme,
		"https://client.example/c.json#x":        clientdoc.ReasonURL,
		"https://user@client.example/c.json":     clientdoc.ReasonURL,
		"https://client.example/a/../c.json":     clientdoc.ReasonURL,
		"https://client.example/a/%2e%2e/c.json": clientdoc.ReasonURL,
		"https://client.example":                 clientdoc.ReasonURL,
		"https://client.example/":                clientdoc.ReasonURL,
		"https://10.0.0.1/c.json":                clientdoc.ReasonAddress,
		"https://2130706433/c.json":              clientdoc.ReasonAddress,
		"https://0x7f000001/c.json":              clientdoc.ReasonAddress,
		"https://0177.0.0.1/c.json":              clientdoc.ReasonAddress,
		"https://127.1/c.json":                   clientdoc.ReasonAddress,
		"https://[::1]/c.json":                   clientdoc.ReasonAddress,
		"https://[::ffff:127.0.0.1]/c.json":      clientdoc.ReasonAddress,
		"https://localhost/c.json":               clientdoc.ReasonAddress,
		"https://app.localhost/c.json":           clientdoc.ReasonAddress,
		"https://client.example:8443/c.json":     clientdoc.ReasonPort,
	} {
		f.wantRefused(t, u, reason)
	}
}

// The whole way with the real guard: names that lead where they must not.
func TestCase020_NamesThatLeadInside(t *testing.T) {
	f := newFixture(t)
	names := map[string][]string{
		"loopback.example": {"127.0.0.1"}, "loopback6.example": {"::1"}, "mapped.example": {"::ffff:127.0.0.1"},
		"private.example": {"192.168.0.10"}, "metadata.example": {"169.254.169.254"}, "shared.example": {"100.64.1.1"},
		"both.example": {"1.1.1.1", "10.0.0.1"}, "nat64.example": {"64:ff9b::7f00:1"}, "wire.example": {"168.63.129.16"},
	}
	f.restart(t, clientdoc.GuardedWith(func(host string) []netip.Addr {
		var addrs []netip.Addr
		for _, a := range names[host] {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		return addrs
	}, f.web.Roots))
	for name := range names {
		f.wantRefused(t, "https://"+name+"/c.json", clientdoc.ReasonAddress)
	}
	f.wantRefused(t, "https://nowhere.example/c.json", clientdoc.ReasonUnreachable)
}

func TestCase021_LastGoodCopy(t *testing.T) {
	f := newFixture(t)
	f.web.JSON(docURL, body(docURL), "Cache-Control", "no-store")
	f.want(t, docURL, clientdoc.Fetched)
	for _, rubbish := range []http.HandlerFunc{
		func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "forbidden", http.StatusForbidden) },
		func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		f.web.Handle(docURL, rubbish)
		f.clock.Advance(24 * time.Hour)
		f.restart(t, f.web.Network) // the copy survives a restart
		d := f.want(t, docURL, clientdoc.LastGood)
		if d.Metadata.Name != "Example" {
			t.Errorf("%+v", d)
		}
	}
	f.clock.Advance(4*24*time.Hour - time.Minute)
	f.want(t, docURL, clientdoc.LastGood)
	f.clock.Advance(2 * time.Minute)
	if e := f.wantRefused(t, docURL, clientdoc.ReasonUnreachable); e.Permanent() || e.RetryAfter == 0 {
		t.Errorf("%+v", e)
	}
	f.clock.Advance(time.Minute)
	f.web.JSON(docURL, body(docURL))
	f.want(t, docURL, clientdoc.Fetched)
	// The host says that there is no document any more.
	f.web.Handle(docURL, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
	f.clock.Advance(2 * time.Hour)
	f.wantRefused(t, docURL, clientdoc.ReasonGone)
}

func TestCase021_BuiltInCopies(t *testing.T) {
	f := newFixture(t)
	urls := f.BuiltInURLs()
	if !slices.Contains(urls, "https://vscode.dev/oauth/client-metadata.json") || !slices.Contains(urls, "https://claude.ai/oauth/claude-code-client-metadata") {
		t.Fatalf("%v", urls)
	}
	for _, u := range urls {
		d := f.want(t, u, clientdoc.BuiltIn)
		if d.Metadata.Name == "" || len(d.Metadata.RedirectURIs) == 0 || !d.Metadata.IsPublic() || !d.At.IsZero() {
			t.Errorf("%s: %+v", u, d)
		}
	}
	u := urls[0]
	f.clock.Advance(time.Minute)
	f.web.JSON(u, body(u))
	if d := f.want(t, u, clientdoc.Fetched); d.Metadata.Name != "Example" {
		t.Errorf("the fetched document does not win: %+v", d)
	}
}

// Failures are remembered, so nobody can make us hammer a host.
func TestFailuresAreRemembered(t *testing.T) {
	f := newFixture(t)
	for range 20 {
		f.wantRefused(t, docURL, clientdoc.ReasonStatus)
	}
	if n := f.web.Hits(docURL); n != 1 {
		t.Fatalf("asked %d times", n)
	}
	f.clock.Advance(31 * time.Second)
	f.wantRefused(t, docURL, clientdoc.ReasonStatus)
	if n := f.web.Hits(docURL); n != 2 {
		t.Fatalf("asked %d times", n)
	}
}

func TestConcurrentFetchesAreOne(t *testing.T) {
	f := newFixture(t)
	release := make(chan struct{})
	f.web.Handle(docURL, func(w http.ResponseWriter, _ *http.Request) {
		<-release
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body(docURL))
	})
	// One gives up at once: the fetch goes on for the others.
	quitting, quit := context.WithCancel(t.Context())
	quit()
	if _, err := f.Client(quitting, docURL); err == nil {
		t.Error("answered a request that had ended")
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := f.Client(t.Context(), docURL); err != nil {
				t.Error(err)
			}
		})
	}
	close(release)
	wg.Wait()
	if n := f.web.Hits(docURL); n != 1 {
		t.Fatalf("fetched %d times", n)
	}
}

// A flood finds nothing to fill: not memory, not the store, not the network.
func TestFloodOfURLs(t *testing.T) {
	f := newFixture(t)
	f.web.JSON(docURL, body(docURL), "Cache-Control", "no-store")
	f.want(t, docURL, clientdoc.Fetched)
	busy := func(host string) int {
		n := 0
		for i := range 100 {
			u := fmt.Sprintf("https://%s/%d.json", strings.ReplaceAll(host, "#", fmt.Sprint(i)), i)
			f.web.JSON(u, body(u))
			if _, err := f.Client(t.Context(), u); err != nil {
				e, _ := errors.AsType[*clientdoc.Error](err)
				if e == nil || e.Reason != clientdoc.ReasonBusy || e.Permanent() {
					t.Fatal(err)
				}
				n++
			}
		}
		return n
	}
	if n := busy("h#.flood.example"); n < 85 {
		t.Errorf("one site was asked %d times in a minute", 100-n)
	}
	if n := busy("flood#.example"); n < 75 {
		t.Errorf("%d new documents in a minute", 100-n)
	}
	// A client that is known is not starved.
	f.clock.Advance(5*time.Minute + time.Second)
	for range 3 {
		busy("more#.example")
	}
	f.want(t, docURL, clientdoc.Fetched)
	if n := f.web.Hits(docURL); n != 2 {
		t.Errorf("the known document was asked for %d times", n)
	}
	for round := range 20 {
		f.clock.Advance(time.Minute)
		busy(fmt.Sprintf("r%d-#.example", round))
	}
	if good, failures := f.Held(); good > 256 || failures > 256 {
		t.Errorf("%d documents and %d failures in memory", good, failures)
	}
}
