package oauth

import (
	"bytes"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
)

// FuzzPushedRequest: a request_uri opens only if this server sealed it, for
// the same client, and gives back what was pushed.
func FuzzPushedRequest(f *testing.F) {
	now := time.Date(2026, 11, 23, 9, 20, 0, 0, time.UTC)
	ours, err := newSealer(grant.MasterKey{1})
	if err != nil {
		f.Fatal(err)
	}
	theirs, err := newSealer(grant.MasterKey{2})
	if err != nil {
		f.Fatal(err)
	}
	query := url.Values{"state": {"a b&c"}, "scope": {"logs:read"}, "client_id": {"c1.other"}}.Encode()
	request := pushedRequest{ID: "id", Expires: now.Add(pushedLifetime).Unix(), Query: query}
	good, err := ours.seal("c1.client", request)
	if err != nil {
		f.Fatal(err)
	}
	foreign, err := theirs.seal("c1.client", request)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("c1.client", good, 0)
	f.Add("c1.client", good, 90)
	f.Add("c1.other", good, 0)
	f.Add("c1.client", foreign, 0)
	f.Add("c1.client", good[:len(good)-1], 0)
	f.Add("c1.client", good[:60]+"\n"+good[60:], 0)
	f.Add("c1.client", spec.PushedRequestPrefix, 0)
	f.Add("c1.client", spec.PushedRequestPrefix+strings.Repeat("A", 80), 0)
	f.Add("", "", 0)
	f.Fuzz(func(t *testing.T, client, uri string, seconds int) {
		p, err := ours.open(grant.ClientID(client), uri, now.Add(time.Duration(seconds)*time.Second))
		if err != nil {
			if !errors.Is(err, errPushed) || uri == good && client == "c1.client" && seconds >= 0 && seconds < 90 {
				t.Fatalf("%q for %q after %d s: %v", uri, client, seconds, err)
			}
			return
		}
		if client != "c1.client" || seconds >= 90 || strings.ContainsAny(uri, "\r\n") {
			t.Fatalf("%q opens for %q after %d s", uri, client, seconds)
		}
		// Nothing else was ever sealed with this key.
		if p.ID != "id" || p.values.Get("state") != "a b&c" || p.values.Get("client_id") != "c1.client" {
			t.Fatalf("%q opens as %+v", uri, p)
		}
	})
}

func TestPushedRequestsHideWhatTheyHold(t *testing.T) {
	s, err := newSealer(grant.MasterKey{1})
	if err != nil {
		t.Fatal(err)
	}
	r := pushedRequest{ID: "id", Expires: 1, Query: "state=secretsecretsecret"}
	one, err := s.seal("c", r)
	if err != nil {
		t.Fatal(err)
	}
	two, err := s.seal("c", r)
	if err != nil {
		t.Fatal(err)
	}
	if one == two || bytes.Contains([]byte(one), []byte("secret")) {
		t.Errorf("%s and %s", one, two)
	}
}
