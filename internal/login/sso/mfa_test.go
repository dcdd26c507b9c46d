package sso_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/testkit"
)

// codeOf computes the code of RFC 6238 by itself.
func codeOf(t *testing.T, secret string, at time.Time) string {
	t.Helper()
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ReplaceAll(secret, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha1.New, key)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(at.Unix()/30)))
	sum := mac.Sum(nil)
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[sum[len(sum)-1]&15:])&0x7fffffff%1_000_000)
}

func follow(b *testkit.Browser, res testkit.Response) testkit.Response {
	for res.Status == http.StatusSeeOther && strings.HasPrefix(res.Header.Get("Location"), "/") {
		res = b.Get(res.Header.Get("Location"))
	}
	return res
}

func linkTo(t *testing.T, page, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(`href="(` + pattern + `[^"]*)"`).FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("no link to %s on\n%s", pattern, page)
	}
	return html.UnescapeString(m[1])
}

// Where the organization demands a second factor, one that the provider vouches
// for is enough; without, the person is led to one here, and a logout at the
// provider still ends what came of it.
func TestDemandedSecondFactor(t *testing.T) {
	p := start(t)
	p.SetMember("shop", "ada@example.com", "viewer")
	p.Must(p.Admin.Directory.SetMFA(t.Context(), "", org.MFARequired, audit.Shell("test")))
	p.set("sid", "session-1")
	p.set("amr", []string{"pwd", "mfa"})
	p.arrive(p.Browser())

	p.set("amr", []string{"pwd"})
	b := p.Browser()
	res := p.signIn(b, "/login/sso/okta")
	if !strings.HasPrefix(res.Header.Get("Location"), "/login/second") {
		t.Fatalf("status %d, to %q", res.Status, res.Header.Get("Location"))
	}
	if open := b.Get("/"); open.Status != http.StatusSeeOther {
		t.Error("the start page opens without the factor")
	}
	choice := follow(b, res)
	page := b.Get(linkTo(t, choice.Body, `/login/enrol\?kind=totp`))
	secret := regexp.MustCompile(`<code class="copy key">([^<]*)</code>`).FindStringSubmatch(page.Body)[1]
	codes := b.Post("/login/enrol", url.Values{
		"step": {testkit.Field(page.Body, "step")}, "kind": {"totp"}, "enrolment": {testkit.Field(page.Body, "enrolment")}, "code": {codeOf(t, secret, p.Clock.Now())},
	})
	if home := follow(b, b.Get(linkTo(t, codes.Body, "/login/second"))); home.Status != http.StatusOK || !strings.Contains(home.Body, "Sign out") {
		t.Fatalf("after the enrolment: status %d\n%s", home.Status, home.Body)
	}

	// The next time the app's code is asked for.
	p.Clock.Advance(time.Minute)
	b = p.Browser()
	ask := follow(b, p.signIn(b, "/login/sso/okta"))
	c := p.Register()
	if early := b.Get(c.AuthorizeURL()); early.Status != http.StatusSeeOther {
		t.Errorf("halfway, the consent page has status %d", early.Status)
	}
	in := b.Post("/login/second", url.Values{"step": {testkit.Field(ask.Body, "step")}, "code": {codeOf(t, secret, p.Clock.Now())}})
	if home := follow(b, in); home.Status != http.StatusOK {
		t.Fatalf("after the code: status %d\n%s", home.Status, home.Body)
	}
	p.connect(c, b, "shop")
	if res := c.Call("tools/list", ""); res.Status != http.StatusOK {
		t.Errorf("connected: status %d", res.Status)
	}
	p.logout(p.jws("logout+jwt", p.logoutClaims()))
	if res := c.Call("tools/list", ""); res.Status != http.StatusUnauthorized {
		t.Errorf("after the provider's logout: status %d", res.Status)
	}
	if home := b.Get("/"); home.Status != http.StatusSeeOther {
		t.Error("the browser is still signed in")
	}
}
