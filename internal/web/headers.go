package web

import (
	"net"
	"net/http"
	"net/netip"
)

// basePolicy is the Content-Security-Policy of every page: no scripts but one
// where a page says so, nothing from elsewhere, no frames.
const basePolicy = "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'"

// SecureHeaders sets what every page sends. page may be nil.
//
// form-action is 'self' except on the consent page and those like it, which
// have none: Chromium applies it to every hop of the redirects that follow a
// form, and the redirect to a client may hop on to where no list could foresee
// (Claude's https callback goes on to claude:). What those forms post to is
// fixed by the template, and the redirect after it is checked on the server.
// The page that posts an answer to a client names exactly that client.
//
// Cross-Origin-Opener-Policy is sent with the console's own pages only. An
// assistant in the browser may open sign-in and consent in a window of its own
// and wait for its callback page to call back through window.opener; the
// header, on any page or redirect on the way, would cut that for good.
func SecureHeaders(h http.Header, page Page) {
	policy := basePolicy
	if p, ok := page.(policed); ok {
		policy += p.policy()
	} else {
		policy += "; form-action 'self'"
	}
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Permissions-Policy", "accelerometer=(), camera=(), geolocation=(), gyroscope=(), microphone=(), payment=(), usb=()")
	if page != nil && page.frame().Account != nil {
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
	}
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

func (s *Site) pageHeaders(h http.Header, page Page) {
	SecureHeaders(h, page)
	if !s.trustworthy() {
		// Over plain http to another host browsers send no Sec-Fetch-Site,
		// and under no-referrer they send "Origin: null": our own forms would
		// be refused. This still tells other sites nothing.
		h.Set("Referrer-Policy", "same-origin")
		// Ignored with a warning on such origins.
		h.Del("Cross-Origin-Opener-Policy")
	}
}

// trustworthy says whether browsers treat the public URL as a secure context
// (https://w3c.github.io/webappsec-secure-contexts/#is-origin-trustworthy).
func (s *Site) trustworthy() bool {
	if s.Secure() {
		return true
	}
	host := s.public.Hostname()
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// AddressKey returns the part of an address that one visitor controls: the
// address itself, and for IPv6 its /64, of which any host has all.
func AddressKey(a netip.Addr) string {
	if a.Is6() && !a.Is4In6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	if !a.IsValid() {
		return net.IPv4zero.String()
	}
	return a.Unmap().String()
}
