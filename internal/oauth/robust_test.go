package oauth_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"
)

// raw opens a connection and sends text over it.
func raw(t *testing.T, address, text string) net.Conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// The server may hang up before it has read everything.
	_, _ = io.WriteString(c, text)
	return c
}

func status(t *testing.T, c net.Conn) int {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer res.Body.Close() //nolint:errcheck // only its status matters
	return res.StatusCode
}

// Whatever strangers send, memory is bounded, the answer says what is wrong,
// and others are served.
func TestCase097_Strangers(t *testing.T) {
	s := newServer(t)
	c := s.Register().Connect("ada@example.com", "shop")
	host := strings.TrimPrefix(s.URL, "http://")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)

	var open []net.Conn
	for range 400 {
		open = append(open, raw(t, host, ""))                                                                                                          // idle
		open = append(open, raw(t, host, "GET / HTTP/1.1\r\nHost: "+host+"\r\nX-Slow: "))                                                              // slow headers
		open = append(open, raw(t, host, "POST /oauth/token HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: 9\r\nContent-Type: "+formType+"\r\n\r\ngr")) // slow body
	}
	if got := status(t, raw(t, host, "GET / HTTP/1.1\r\nHost: "+host+"\r\nX-Large: "+strings.Repeat("x", 200<<10)+"\r\n\r\n")); got != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of 200 KB: %d", got)
	}
	if got := status(t, raw(t, host, "GET / HTTP/1.1\r\nHost: "+host+"\r\n"+strings.Repeat("X-Many: x\r\n", 20_000)+"\r\n")); got != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("20,000 headers: %d", got)
	}
	if got := status(t, raw(t, host, "GET /oauth/authorize?state="+strings.Repeat("x", 1<<20)+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n")); got < 400 || got >= 500 {
		t.Errorf("a query of 1 MB: %d", got)
	}
	if got := status(t, raw(t, host, "POST /oauth/token HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: -1\r\n\r\n")); got != http.StatusBadRequest {
		t.Errorf("a negative length: %d", got)
	}

	deep := strings.Repeat("[", 30_000)
	for name, test := range map[string]struct {
		target, contentType, body string
		status                    int
	}{
		"deep JSON":        {"/oauth/register", "application/json", `{"redirect_uris":` + deep, 400},
		"deep JSON, large": {"/oauth/register", "application/json", strings.Repeat("[", 1<<20), 413},
		"form of 1 MB":     {"/oauth/token", formType, "grant_type=" + strings.Repeat("x", 1<<20), 413},
		"many parameters":  {"/oauth/token", formType, strings.Repeat("a=b&", 15_000), 0},
		"bad escapes":      {"/oauth/token", formType, "grant_type=%zz", 400},
		"a NUL":            {"/oauth/token", formType, "grant_type=%00&client_id=%00", 0},
	} {
		res := s.Do(http.MethodPost, test.target, test.body, "Content-Type", test.contentType)
		if res.Status >= 500 || res.Status < 400 || (test.status != 0 && res.Status != test.status) {
			t.Errorf("%s: %d %s", name, res.Status, res.Body)
		}
	}
	deepCall := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{"a":` + deep + `}}}`
	if res := s.Do(http.MethodPost, mcpPath, deepCall, "Content-Type", "application/json", "Accept", "application/json, text/event-stream", "Authorization", "Bearer "+c.Access); res.Status >= 500 {
		t.Errorf("a deep call: %d %s", res.Status, res.Body)
	}
	if res := s.Do(http.MethodGet, "/login?"+url.Values{"step": {strings.Repeat("x", 30_000)}}.Encode(), ""); res.Status != http.StatusBadRequest {
		t.Errorf("a long step: %d", res.Status)
	}

	wantStatus(t, c.Renew(c.Refresh), http.StatusOK)
	wantStatus(t, c.Call("tools/list", ""), http.StatusOK)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<20 {
		t.Errorf("%d MB are held by %d strangers", grown>>20, len(open))
	}
}
