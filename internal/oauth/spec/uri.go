package spec

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// maxURIBytes bounds every URI that a client tells us: longer ones do not survive a browser's address bar.
const maxURIBytes = 2048

// parseURI parses an absolute URI of a stranger more strictly than net/url, so that we, net/url and a browser agree on
// its scheme and host: RFC 3986 characters only (no space, control, backslash, quote or raw non-ASCII), whole percent
// escapes, no fragment, no user information, no percent escapes in the host, no empty port.
func parseURI(s string) (*url.URL, error) {
	if s == "" {
		return nil, errors.New("is empty")
	}
	if len(s) > maxURIBytes {
		return nil, errors.New("is longer than 2048 bytes")
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%':
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return nil, errors.New("has a broken percent escape")
			}
		case c == '#':
			// RFC 6749 §3.1.2: no fragment, an empty one included.
			return nil, errors.New("has a fragment")
		case !isAlnum(c) && !strings.ContainsRune("-._~:/?[]@!$&'()*+,;=", rune(c)):
			return nil, errors.New("has a character that a URI cannot have")
		}
	}
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || !isScheme(scheme) {
		return nil, errors.New("is not an absolute URI")
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New("is not a URI")
	}
	authority, hasAuthority := strings.CutPrefix(rest, "//")
	if !hasAuthority {
		if u.Host != "" || u.User != nil {
			return nil, errors.New("is not a URI")
		}
		return u, nil
	}
	if i := strings.IndexAny(authority, "/?"); i >= 0 {
		authority = authority[:i]
	}
	if strings.Contains(authority, "@") || u.User != nil {
		return nil, errors.New("has user information")
	}
	if u.Host != authority {
		return nil, errors.New("has a host that is read in two ways")
	}
	if err := checkAuthority(authority); err != nil {
		return nil, err
	}
	return u, nil
}

// checkAuthority accepts "", host, host:port and [v6]:port, where host is made of letters, digits and "-._~".
func checkAuthority(authority string) error {
	host, port, hasPort := authority, "", false
	if strings.HasPrefix(authority, "[") {
		end := strings.IndexByte(authority, ']')
		if end < 0 {
			return errors.New("has a broken host")
		}
		addr, err := netip.ParseAddr(authority[1:end])
		if err != nil || !addr.Is6() || addr.Zone() != "" {
			return errors.New("has a broken IPv6 address")
		}
		host = ""
		if rest := authority[end+1:]; rest != "" {
			if rest[0] != ':' {
				return errors.New("has a broken host")
			}
			port, hasPort = rest[1:], true
		}
	} else {
		host, port, hasPort = strings.Cut(authority, ":")
		if host == "" && hasPort {
			return errors.New("has a port without a host")
		}
	}
	for i := 0; i < len(host); i++ {
		if c := host[i]; !isAlnum(c) && !strings.ContainsRune("-._~", rune(c)) {
			return errors.New("has a character in its host that a host cannot have")
		}
	}
	if hasPort {
		// Leading zeros are refused: a browser drops them and would go to another string than the one compared.
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return errors.New("has a broken port")
		}
	}
	return nil
}

// checkWebHost refuses the hosts of http and https URIs that browsers would read differently: empty ones, empty
// labels, and numbers that are not a plain dotted quad (127.1, 2130706433, 0x7f.1, 017700000001).
func checkWebHost(hostname string) error {
	if hostname == "" {
		return errors.New("has no host")
	}
	if strings.Contains(hostname, ":") { // IPv6, checked before
		return nil
	}
	labels := strings.Split(strings.TrimSuffix(hostname, "."), ".")
	for _, l := range labels {
		if l == "" {
			return errors.New("has a broken host")
		}
	}
	if !isNumeric(labels[len(labels)-1]) {
		return nil
	}
	if addr, err := netip.ParseAddr(hostname); err != nil || !addr.Is4() {
		return errors.New("has a number for a host that is not a plain IPv4 address")
	}
	return nil
}

// isNumeric reports whether a browser takes a host that ends in this label for an IPv4 address
// (URL Standard §3.5, "ends in a number").
func isNumeric(label string) bool {
	if hex, ok := strings.CutPrefix(strings.ToLower(label), "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

func isScheme(s string) bool {
	if s == "" || !isAlpha(s[0]) {
		return false
	}
	for i := 1; i < len(s); i++ {
		if !isAlnum(s[i]) && s[i] != '+' && s[i] != '-' && s[i] != '.' {
			return false
		}
	}
	return true
}

func isAlpha(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
func isAlnum(c byte) bool { return isAlpha(c) || '0' <= c && c <= '9' }
func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
