package ingest

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestKeyOfOneSignal(t *testing.T) {
	if res := post(newServer(t, &recorder{}), typeProtobuf, marshal(t, typeProtobuf, sample()), "Authorization", "Bearer logs-only"); res.Code != http.StatusOK {
		t.Errorf("logs: %d %s", res.Code, res.Body)
	}
	res := postSpans(t, &spanRecorder{}, typeJSON, []byte(`{}`), "Authorization", "Bearer logs-only")
	if res.Code != http.StatusForbidden || !strings.Contains(res.Body.String(), "may send logs only") {
		t.Errorf("spans: %d %s", res.Code, res.Body)
	}
}

func TestKeyWithRate(t *testing.T) {
	now := testNow
	s := newServer(t, &recorder{}, func(c *Config) { c.Now = func() time.Time { return now } })
	body := marshal(t, typeProtobuf, sample())
	send := func() (int, string) {
		res := post(s, typeProtobuf, body, "Authorization", "Bearer slow")
		return res.Code, res.Header().Get("Retry-After")
	}
	// The burst is 100 bytes, and the first request goes beyond it.
	if code, _ := send(); code != http.StatusOK {
		t.Fatalf("the first: %d", code)
	}
	code, after := send()
	debt, err := time.ParseDuration(after + "s")
	if code != http.StatusTooManyRequests || err != nil || debt < time.Duration(len(body)-100)*time.Second/10-2*time.Second {
		t.Fatalf("the second: %d, after %s, for %d bytes", code, after, len(body))
	}
	now = now.Add(debt - time.Second)
	if code, _ := send(); code != http.StatusTooManyRequests {
		t.Errorf("too early: %d", code)
	}
	now = now.Add(3 * time.Second)
	if code, _ := send(); code != http.StatusOK {
		t.Errorf("in time: %d", code)
	}
	if res := post(s, typeProtobuf, body); res.Code != http.StatusOK {
		t.Errorf("another key: %d", res.Code)
	}
}
