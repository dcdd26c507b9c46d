package clientdoc

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"testing"
)

// The guard itself, at the socket and at the names.
func TestCase020_AddressesThatAreNotPublic(t *testing.T) {
	for _, text := range []string{
		"127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "169.254.0.1",
		"100.64.0.1", "100.100.100.200", "192.0.0.192", "168.63.129.16", "224.0.0.1", "255.255.255.255", "198.18.0.1",
		"::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1",
		"64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:a00:1::", "2001:db8::1", "2001::1",
	} {
		addr := netip.MustParseAddr(text)
		d := newDialer(GuardedWith(func(string) []netip.Addr { return []netip.Addr{addr} }, nil), []uint16{443})
		if c, err := d.DialContext(t.Context(), "tcp", "name.example:443"); !errors.Is(err, errAddress) {
			t.Errorf("%s: dialled, %v, %v", text, c, err)
		}
		// What the socket is told is looked at once more.
		if err := d.control("tcp", netip.AddrPortFrom(addr, 443).String(), nil); !errors.Is(err, errAddress) {
			t.Errorf("%s: let through at the socket: %v", text, err)
		}
	}
	d := newDialer(Network{}, []uint16{443})
	for _, text := range []string{"1.1.1.1:443", "[2606:4700:4700::1111]:443"} {
		if err := d.control("tcp", text, nil); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{"1.1.1.1:22", "1.1.1.1:80", "1.1.1.1:8443", "nonsense"} {
		if err := d.control("tcp", text, nil); err == nil {
			t.Errorf("%s: let through", text)
		}
	}
}

// A name with one good address and one of ours is refused as a whole, before
// anything is dialled.
func TestCase020_MixedAddresses(t *testing.T) {
	for _, order := range [][]string{{"1.1.1.1", "10.0.0.1"}, {"127.0.0.1", "1.1.1.1"}, {"2606:4700:4700::1111", "::1"}} {
		var addrs []netip.Addr
		for _, text := range order {
			addrs = append(addrs, netip.MustParseAddr(text))
		}
		d := newDialer(GuardedWith(func(string) []netip.Addr { return addrs }, nil), []uint16{443})
		if _, err := d.DialContext(t.Context(), "tcp", "name.example:443"); !errors.Is(err, errAddress) {
			t.Errorf("%v: %v", order, err)
		}
	}
}

// A name that is public when it is checked and ours when it is dialled: there
// is no second look-up, and the next connection is checked anew.
func TestCase020_Rebinding(t *testing.T) {
	answers := []string{"192.0.2.1", "127.0.0.1"} // the first is replaced below by an allowed one
	lookups := 0
	var dialled []netip.AddrPort
	d := newDialer(GuardedWith(func(string) []netip.Addr {
		a := netip.MustParseAddr(answers[min(lookups, 1)])
		lookups++
		return []netip.Addr{a}
	}, nil), []uint16{443})
	real := d.permit
	d.permit = func(ap netip.AddrPort) error {
		dialled = append(dialled, ap)
		if ap.Addr() == netip.MustParseAddr("192.0.2.1") {
			return nil // stands for a public address; nothing answers there
		}
		return real(ap)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the first connection needs not to succeed
	_, _ = d.DialContext(ctx, "tcp", "name.example:443")
	if lookups != 1 {
		t.Fatalf("%d look-ups for one connection", lookups)
	}
	if _, err := d.DialContext(t.Context(), "tcp", "name.example:443"); !errors.Is(err, errAddress) {
		t.Fatalf("after rebinding: %v", err)
	}
	for _, ap := range dialled[:len(dialled)-1] {
		if ap.Addr() != netip.MustParseAddr("192.0.2.1") {
			t.Errorf("%s was looked at for the first connection", ap)
		}
	}
}

// A listener on loopback must see no packet of the guarded client.
func TestCase020_NothingReachesLoopback(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // a test's listener
	accepted := make(chan struct{}, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			_ = c.Close()
			accepted <- struct{}{}
		}
	}()
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	d := newDialer(GuardedWith(func(string) []netip.Addr { return []netip.Addr{netip.MustParseAddr("::ffff:127.0.0.1")} }, nil), []uint16{port})
	if _, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort("name.example", "1")); err == nil {
		t.Error("a port that is not allowed was dialled")
	}
	if _, err := d.DialContext(t.Context(), "tcp", l.Addr().String()); !errors.Is(err, errAddress) {
		t.Errorf("dialled: %v", err)
	}
	// Even past the check of names, the socket is guarded.
	if _, err := d.connect(t.Context(), "tcp", []netip.AddrPort{netip.MustParseAddrPort(l.Addr().String())}); !errors.Is(err, errAddress) {
		t.Errorf("connected: %v", err)
	}
	select {
	case <-accepted:
		t.Error("a connection reached loopback")
	default:
	}
}

func FuzzParseDocumentReason(f *testing.F) {
	const u = "https://client.example/c.json"
	f.Add([]byte(`{"client_id":"` + u + `","redirect_uris":["http://127.0.0.1/"]}`))
	f.Add([]byte(`{"client_id":"` + u + `","client_secret":"x","redirect_uris":["http://127.0.0.1/"]}`))
	f.Add([]byte(`{"client_id":"https://other.example/"}`))
	f.Add([]byte(`{"client_id":"` + u + `","redirect_uris":["javascript:alert(1)"]}`))
	f.Add([]byte(`[1]`))
	f.Add([]byte("\xff"))
	f.Fuzz(func(t *testing.T, body []byte) {
		_, err := parseDocument(u, body)
		if err == nil {
			return
		}
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Reason == "" || e.Cause == nil || e.Public() == "" || e.Next() == "" {
			t.Fatalf("refused without a reason: %v", err)
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"new"}]}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, err := ParseKeys(body)
		if err == nil && (len(keys) == 0 || len(keys) > maxKeys) {
			t.Fatalf("%d keys", len(keys))
		}
		for _, k := range keys {
			if !k.IsPublic() || !k.Valid() {
				t.Fatalf("accepted %v", k)
			}
		}
	})
}

// TestKeyClientReach: names of a key set's address lead to where its issuer's
// administrator allowed, and nowhere else.
func TestKeyClientReach(t *testing.T) {
	for _, c := range []struct {
		text                      string
		public, private, loopback bool
	}{
		{"1.1.1.1", true, true, false},
		{"2606:4700:4700::1111", true, true, false},
		{"10.0.0.1", false, true, false},
		{"172.16.3.4", false, true, false},
		{"192.168.1.1", false, true, false},
		{"::ffff:10.0.0.1", false, true, false},
		{"fd12::1", false, true, false},
		{"127.0.0.1", false, false, true},
		{"::1", false, false, true},
		{"169.254.169.254", false, false, false},
		{"168.63.129.16", false, false, false},
		{"fd00:ec2::254", false, false, false},
		{"fe80::1", false, false, false},
		{"100.100.100.200", false, false, false},
		{"0.0.0.0", false, false, false},
		{"224.0.0.1", false, false, false},
		{"64:ff9b::a9fe:a9fe", false, false, false},
	} {
		addr := netip.MustParseAddr(c.text).Unmap()
		for reach, want := range map[Reach]bool{Public: c.public, Private: c.private, Loopback: c.loopback} {
			permit := reach.permit(8443)
			if err := permit(netip.AddrPortFrom(addr, 8443)); (err == nil) != want {
				t.Errorf("%s with reach %d: %v", c.text, reach, err)
			}
			if err := permit(netip.AddrPortFrom(addr, 22)); err == nil {
				t.Errorf("%s with reach %d: another port is let through", c.text, reach)
			}
		}
		// By a name, as an attacker's resolver would have it.
		if c.public {
			continue
		}
		client := GuardedWith(func(string) []netip.Addr { return []netip.Addr{netip.MustParseAddr(c.text)} }, nil).KeyClient(Public, 8443)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://idp.example.com:8443/keys", nil)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := client.Do(req); !errors.Is(err, errAddress) {
			t.Errorf("%s: %v, %v", c.text, res, err)
		}
	}
}
