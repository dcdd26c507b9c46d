package login_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/login/mfa"
	"github.com/orielhq/oriel/internal/org"
)

// codeOf computes what an app with a secret shows (RFC 6238 §4).
func codeOf(t *testing.T, secret string, at time.Time) string {
	t.Helper()
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ReplaceAll(secret, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha1.New, key)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(at.Unix()/30)))
	sum := mac.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[len(sum)-1]&15:]) & 0x7fffffff
	return fmt.Sprintf("%06d", n%1_000_000)
}

// field returns the value of an input of a page.
func field(page, name string) string {
	m := regexp.MustCompile(`<input[^>]*\bname="` + name + `"[^>]*\bvalue="([^"]*)"`).FindStringSubmatch(page)
	if m == nil {
		return ""
	}
	return html.UnescapeString(m[1])
}

// follow goes where an answer leads until there is a page.
func (b *browser) follow(a answer) answer {
	b.t.Helper()
	for range 10 {
		if a.StatusCode != http.StatusSeeOther {
			return a
		}
		a = b.get(a.Header.Get("Location"))
	}
	b.t.Fatal("it goes round and round")
	return a
}

// withApp enrols an authenticator app for somebody and returns its secret and
// the recovery codes.
func (h *house) withApp(p org.Person) (secret string, codes []string) {
	h.t.Helper()
	e := h.factors.BeginTOTP(p.ID)
	shown, err := h.factors.Show(e, p.Email)
	if err != nil {
		h.t.Fatal(err)
	}
	codes, err = h.factors.ConfirmTOTP(h.t.Context(), e, p.ID, codeOf(h.t, shown.Text, h.clock.now()), "Telephone", audit.System())
	if err != nil {
		h.t.Fatal(err)
	}
	h.clock.turn(time.Minute) // that code is used up
	return shown.Text, codes
}

// password types the password and returns the page of the second step.
func (b *browser) password() answer {
	b.t.Helper()
	return b.follow(b.post("/login", "email", adaEmail, "password", adaPassword))
}

func (h *house) kinds() string {
	h.t.Helper()
	events, err := h.store.DB.Events(h.t.Context(), audit.Filter{})
	if err != nil {
		h.t.Fatal(err)
	}
	var out []string
	for _, e := range events {
		out = append(out, string(e.Kind))
	}
	return strings.Join(out, " ")
}

const (
	appHeading = "<h1>Enter the code from your authenticator app</h1>"
	signedIn   = adaEmail + " pwd otp mfa"
)

// TestMFA_SecondStep: with a factor, the password alone opens nothing.
func TestMFA_SecondStep(t *testing.T) {
	h := newHouse(t)
	secret, _ := h.withApp(h.addAda())
	b := h.browser()
	page := b.password()
	if page.StatusCode != http.StatusOK || !strings.Contains(page.body, appHeading) || !strings.Contains(page.body, "Use a recovery code instead") {
		t.Fatalf("%d\n%s", page.StatusCode, page.body)
	}
	if got := b.get("/").body; got != "nobody" {
		t.Fatalf("halfway there is a session: %s", got)
	}
	if a := b.post("/login/second", "code", "000000"); a.StatusCode != http.StatusUnauthorized || !strings.Contains(a.body, "The code is not right.") {
		t.Fatalf("wrong code: %d\n%s", a.StatusCode, a.body)
	}
	a := b.post("/login/second", "code", codeOf(t, secret, h.clock.now()))
	if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/" {
		t.Fatalf("right code: %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	// RFC 8176 §2: what was done is what the session says.
	if got := b.get("/").body; !strings.HasPrefix(got, signedIn) {
		t.Fatalf("session: %s", got)
	}
	if got := h.kinds(); !strings.Contains(got, "session.halfway session.refused session.started") {
		t.Errorf("events: %s", got)
	}
	// Without any sign-in the page leads to the beginning.
	if a := h.browser().get("/login/second"); a.Header.Get("Location") != "/login" {
		t.Errorf("%d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	if a := h.browser().post("/login/second", "code", codeOf(t, secret, h.clock.now())); a.Header.Get("Location") != "/login" {
		t.Errorf("%d to %q", a.StatusCode, a.Header.Get("Location"))
	}
}

// TestRFC6238_5_2_CodeIsGoodOnce: "The verifier MUST NOT accept the second
// attempt of the OTP after the successful validation", nor an older one.
func TestRFC6238_5_2_CodeIsGoodOnce(t *testing.T) {
	h := newHouse(t)
	secret, _ := h.withApp(h.addAda())
	before, now := codeOf(t, secret, h.clock.now().Add(-30*time.Second)), codeOf(t, secret, h.clock.now())
	b := h.browser()
	b.password()
	if a := b.post("/login/second", "code", now); a.StatusCode != http.StatusSeeOther {
		t.Fatalf("%d\n%s", a.StatusCode, a.body)
	}
	other := h.browser()
	other.password()
	for _, code := range []string{now, before} {
		if a := other.post("/login/second", "code", code); a.StatusCode != http.StatusUnauthorized || !strings.Contains(a.body, "This code was used before") {
			t.Errorf("%d\n%s", a.StatusCode, a.body)
		}
		if got := other.get("/").body; got != "nobody" {
			t.Errorf("session: %s", got)
		}
	}
	h.clock.turn(30 * time.Second)
	if a := other.post("/login/second", "code", codeOf(t, secret, h.clock.now())); a.StatusCode != http.StatusSeeOther {
		t.Errorf("the next code: %d", a.StatusCode)
	}
}

// TestMFA_HalfwayEnds: what the password gave is over after a quarter of an
// hour.
func TestMFA_HalfwayEnds(t *testing.T) {
	h := newHouse(t)
	secret, _ := h.withApp(h.addAda())
	b := h.browser()
	b.password()
	h.clock.turn(15 * time.Minute)
	if a := b.post("/login/second", "code", codeOf(t, secret, h.clock.now())); a.Header.Get("Location") != "/login" {
		t.Errorf("%d to %q", a.StatusCode, a.Header.Get("Location"))
	}
}

// TestMFA_RecoveryCodeIsGoodOnce: and is no code of an app, nor of anybody
// else.
func TestMFA_RecoveryCodeIsGoodOnce(t *testing.T) {
	h := newHouse(t)
	_, codes := h.withApp(h.addAda())
	if len(codes) != 10 {
		t.Fatalf("%d codes", len(codes))
	}
	b := h.browser()
	b.password()
	page := b.get("/login/second?way=recovery")
	if !strings.Contains(page.body, "Enter a recovery code") {
		t.Fatal(page.body)
	}
	if a := b.post("/login/second", "recovery", strings.ToUpper(codes[3])); a.StatusCode != http.StatusSeeOther {
		t.Fatalf("%d\n%s", a.StatusCode, a.body)
	}
	if got := b.get("/").body; !strings.HasPrefix(got, signedIn) {
		t.Fatalf("session: %s", got)
	}
	other := h.browser()
	other.password()
	for _, wrong := range []string{codes[3], "", "0000-0000-0000-0000"} {
		if a := other.post("/login/second", "recovery", wrong); a.StatusCode != http.StatusUnauthorized || !strings.Contains(a.body, "Enter a recovery code") {
			t.Errorf("%q: %d", wrong, a.StatusCode)
		}
	}
	if a := other.post("/login/second", "code", codes[4]); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("as a code of the app: %d", a.StatusCode)
	}
	events, err := h.store.DB.Events(t.Context(), audit.Filter{Kind: audit.RecoveryCodeUsed})
	if err != nil || len(events) != 1 || events[0].Detail != "9 left" {
		t.Errorf("events %+v, %v", events, err)
	}
}

// TestMFA_GuessesAreThrottled as those of passwords are: whoever knows the
// password gets no number of guesses, from however many addresses.
func TestMFA_GuessesAreThrottled(t *testing.T) {
	h := newHouse(t)
	secret, _ := h.withApp(h.addAda())
	b := h.browser()
	b.password()
	for i := range 5 {
		if a := b.post("/login/second", "code", "000000"); a.StatusCode != http.StatusUnauthorized {
			t.Fatalf("guess %d: %d", i, a.StatusCode)
		}
	}
	a := b.post("/login/second", "code", codeOf(t, secret, h.clock.now()))
	if a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" || !strings.Contains(a.body, "Too many attempts") {
		t.Fatalf("%d\n%s", a.StatusCode, a.body)
	}
	if a := b.post("/login/second", "recovery", "0000-0000-0000-0000"); a.StatusCode != http.StatusTooManyRequests {
		t.Errorf("the recovery code is a way around: %d", a.StatusCode)
	}
	h.clock.turn(time.Minute)
	if a := b.post("/login/second", "code", codeOf(t, secret, h.clock.now())); a.StatusCode != http.StatusSeeOther {
		t.Errorf("after the wait: %d\n%s", a.StatusCode, a.body)
	}
}

// TestMFA_RequiredLeadsThroughEnrolment: "a person below the policy is led
// through enrolment at sign-in", and a session from before is none.
func TestMFA_RequiredLeadsThroughEnrolment(t *testing.T) {
	h := newHouse(t)
	h.addAda()
	old := h.browser()
	old.password()
	if got := old.get("/").body; !strings.HasPrefix(got, adaEmail+" pwd ") {
		t.Fatalf("session: %s", got)
	}
	if err := h.directory.SetMFA(t.Context(), "", org.MFARequired, audit.System()); err != nil {
		t.Fatal(err)
	}
	if got := old.get("/").body; got != "nobody" {
		t.Errorf("the session of before still opens: %s", got)
	}
	if page := old.follow(old.get("/login")); !strings.Contains(page.body, "Set up a second factor") {
		t.Errorf("it leads to\n%s", page.body)
	}

	b := h.browser()
	step := strings.TrimPrefix(h.desk.SignInURL("/?where=I+was", login.SignInOptions{}), "/login?step=")
	step, err := url.QueryUnescape(step)
	if err != nil {
		t.Fatal(err)
	}
	page := b.follow(b.post("/login", "step", step, "email", adaEmail, "password", adaPassword))
	if !strings.Contains(page.body, "Set up a second factor") || !strings.Contains(page.body, "Set up an authenticator app") || strings.Contains(page.body, "kind=passkey") {
		t.Fatalf("%d\n%s", page.StatusCode, page.body) // an IP address has no passkeys
	}
	if !strings.Contains(page.body, "IP address") || b.get("/").body != "nobody" {
		t.Fatal(page.body)
	}
	link := regexp.MustCompile(`href="(/login/enrol\?kind=totp[^"]*)"`).FindStringSubmatch(page.body)
	page = b.get(html.UnescapeString(link[1]))
	secret := regexp.MustCompile(`<code class="copy key">([^<]*)</code>`).FindStringSubmatch(page.body)
	if secret == nil || !strings.Contains(page.body, `<svg class="qr"`) {
		t.Fatal(page.body)
	}
	fields := []string{"step", field(page.body, "step"), "kind", "totp", "enrolment", field(page.body, "enrolment"), "name", "Telephone"}
	wrong := b.post("/login/enrol", append(fields, "code", "000000")...)
	if wrong.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(wrong.body, "The code is not right") || !strings.Contains(wrong.body, secret[1]) {
		t.Fatalf("wrong code: %d\n%s", wrong.StatusCode, wrong.body)
	}
	fields = append(fields, "code", codeOf(t, secret[1], h.clock.now()))
	codes := b.post("/login/enrol", fields...)
	if codes.StatusCode != http.StatusOK || strings.Count(codes.body, "<li><code>") != 10 {
		t.Fatalf("%d\n%s", codes.StatusCode, codes.body)
	}
	if got := b.get("/").body; !strings.HasPrefix(got, signedIn) {
		t.Fatalf("session: %s", got)
	}
	next := regexp.MustCompile(`href="(/login/second[^"]*)"`).FindStringSubmatch(codes.body)
	if a := b.get(html.UnescapeString(next[1])); a.Header.Get("Location") != "/?where=I+was" {
		t.Errorf("it goes on to %q", a.Header.Get("Location"))
	}
	// The form once more is the same enrolment.
	if a := b.post("/login/enrol", fields...); a.StatusCode != http.StatusSeeOther {
		t.Errorf("sent twice: %d\n%s", a.StatusCode, a.body)
	}
	if list, err := h.factors.List(t.Context(), h.person().ID); err != nil || len(list) != 1 || list[0].Name != "Telephone" {
		t.Errorf("%+v, %v", list, err)
	}
	if got := h.kinds(); !strings.Contains(got, "factor.added recovery_codes.created session.started") || !strings.Contains(got, "policy.set") {
		t.Errorf("events: %s", got)
	}
}

func (h *house) person() org.Person {
	h.t.Helper()
	p, err := h.directory.PersonByEmail(h.t.Context(), adaEmail)
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// TestMFA_EnrolmentNeedsAFreshSignIn: neither somebody halfway nor somebody at
// an unattended browser adds a factor.
func TestMFA_EnrolmentNeedsAFreshSignIn(t *testing.T) {
	h := newHouse(t)
	secret, _ := h.withApp(h.addAda())
	b := h.browser()
	b.password()
	at := h.desk.EnrolURL(mfa.TOTP, "/security")
	if a := b.get(at); !strings.HasPrefix(a.Header.Get("Location"), "/login/second") {
		t.Errorf("halfway: %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	e := h.desk.Steps.Sign("enrolment", h.factors.BeginTOTP(h.person().ID), time.Hour)
	if a := b.post("/login/enrol", "kind", "totp", "enrolment", e, "code", "000000"); !strings.HasPrefix(a.Header.Get("Location"), "/login/second") {
		t.Errorf("halfway: %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	b.post("/login/second", "code", codeOf(t, secret, h.clock.now()))
	if a := b.get(at); a.StatusCode != http.StatusOK {
		t.Errorf("fresh: %d", a.StatusCode)
	}
	h.clock.turn(16 * time.Minute)
	if a := b.get(at); !strings.HasPrefix(a.Header.Get("Location"), "/login?step=") {
		t.Errorf("stale: %d to %q", a.StatusCode, a.Header.Get("Location"))
	} else if page := b.get(a.Header.Get("Location")); !strings.Contains(page.body, "Please confirm that it is still you") {
		t.Errorf("stale: %s", page.body)
	}
	if a := b.get("/login/enrol?kind=sms"); a.StatusCode != http.StatusNotFound {
		t.Errorf("unknown kind: %d", a.StatusCode)
	}
}

// TestMFA_StepUpKeepsTheTimeOfTheSignIn: a code on top of a session of long
// ago makes it stronger, not younger (OpenID Connect Core §2, auth_time).
func TestMFA_StepUpKeepsTheTimeOfTheSignIn(t *testing.T) {
	h := newHouse(t)
	p := h.addAda()
	b := h.browser()
	b.password() // at 14:20:00
	h.clock.turn(time.Hour)
	secret, _ := h.withApp(p)
	page := b.follow(b.get(h.desk.StepUpURL("/back", org.MFARequired)))
	if !strings.Contains(page.body, appHeading) {
		t.Fatal(page.body)
	}
	a := b.post("/login/second", "step", field(page.body, "step"), "code", codeOf(t, secret, h.clock.now()))
	if a.Header.Get("Location") != "/back" {
		t.Fatalf("%d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	if got := b.get("/").body; !strings.HasPrefix(got, signedIn+" 14:20:00") {
		t.Errorf("session: %s", got)
	}
}

// TestMFA_Reset: "oriel user reset-mfa" is for somebody who lost everything.
func TestMFA_Reset(t *testing.T) {
	h := newHouse(t)
	p := h.addAda()
	secret, _ := h.withApp(p)
	b := h.browser()
	b.password()
	b.post("/login/second", "code", codeOf(t, secret, h.clock.now()))
	if err := h.factors.Reset(t.Context(), p.ID, audit.Shell("root")); err != nil {
		t.Fatal(err)
	}
	if got := b.get("/").body; got != "nobody" {
		t.Errorf("session: %s", got)
	}
	b.password()
	if got := b.get("/").body; !strings.HasPrefix(got, adaEmail+" pwd ") {
		t.Errorf("session: %s", got)
	}
	if !strings.Contains(h.kinds(), "factors.reset") {
		t.Error("no event")
	}
}

// TestMFA_StaleSessionEnrolsOnce: somebody whose session is from before the
// policy signs in again, sets up one factor, and is where they were going.
func TestMFA_StaleSessionEnrolsOnce(t *testing.T) {
	h := newHouse(t)
	h.addAda()
	b := h.browser()
	b.password()
	h.clock.turn(time.Hour)
	if err := h.directory.SetMFA(t.Context(), "", org.MFARequired, audit.System()); err != nil {
		t.Fatal(err)
	}
	link := func(page, prefix string) string {
		t.Helper()
		m := regexp.MustCompile(`href="(` + prefix + `[^"]*)"`).FindStringSubmatch(page)
		if m == nil {
			t.Fatalf("no link %s on\n%s", prefix, page)
		}
		return html.UnescapeString(m[1])
	}
	choice := b.follow(b.get(h.desk.SignInURL("/there", login.SignInOptions{})))
	again := b.follow(b.get(link(choice.body, `/login/enrol\?kind=totp`)))
	if !strings.Contains(again.body, "Please confirm that it is still you") {
		t.Fatal(again.body)
	}
	choice = b.follow(b.post("/login", "step", field(again.body, "step"), "email", adaEmail, "password", adaPassword))
	page := b.get(link(choice.body, `/login/enrol\?kind=totp`))
	secret := regexp.MustCompile(`<code class="copy key">([^<]*)</code>`).FindStringSubmatch(page.body)
	codes := b.post("/login/enrol", "step", field(page.body, "step"), "kind", "totp", "enrolment", field(page.body, "enrolment"), "code", codeOf(t, secret[1], h.clock.now()))
	if a := b.get(link(codes.body, "/login/second")); a.Header.Get("Location") != "/there" {
		t.Errorf("it goes on to %q", a.Header.Get("Location"))
	}
}

// TestMFA_FewApps: each app makes guessing a code easier.
func TestMFA_FewApps(t *testing.T) {
	h := newHouse(t)
	p := h.addAda()
	for range 3 {
		h.withApp(p)
	}
	e := h.factors.BeginTOTP(p.ID)
	shown, err := h.factors.Show(e, p.Email)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.factors.ConfirmTOTP(t.Context(), e, p.ID, codeOf(t, shown.Text, h.clock.now()), "", audit.System()); !errors.Is(err, mfa.ErrTooMany) {
		t.Errorf("a fourth: %v", err)
	}
}

// TestMFA_FactorRemovedHalfway: who waits for a factor that is no more signs
// in again, and goes round no circle.
func TestMFA_FactorRemovedHalfway(t *testing.T) {
	h := newHouse(t)
	p := h.addAda()
	h.withApp(p)
	b := h.browser()
	b.password()
	list, err := h.factors.List(t.Context(), p.ID)
	if err == nil {
		err = h.factors.Remove(t.Context(), p.ID, list[0].ID, audit.System())
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{"/login", "/login/second", h.desk.EnrolURL(mfa.TOTP, "/")} {
		if page := b.follow(b.get(at)); !strings.Contains(page.body, "<h1>Sign in</h1>") {
			t.Errorf("%s leads to %d\n%s", at, page.StatusCode, page.body)
		}
	}
	if got := b.get("/").body; got != "nobody" {
		t.Errorf("session: %s", got)
	}
	if b.password(); !strings.HasPrefix(b.get("/").body, adaEmail+" pwd ") {
		t.Error("signing in again does not work")
	}
}
