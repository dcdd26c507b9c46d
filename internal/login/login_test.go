package login_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/login/mfa"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/store"
	"github.com/orielhq/oriel/internal/store/storetest"
	"github.com/orielhq/oriel/internal/web"
)

const (
	adaEmail    = "ada@example.com"
	adaPassword = "correct horse battery staple"
	wrongText   = "The e-mail address or the password is not right."
)

// clock is a clock to turn.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// watchedStore is the real store; it remembers the events of sessions, and
// how many sessions there are.
type watchedStore struct {
	*store.DB
	mu       sync.Mutex // guards all below
	events   []audit.Event
	sessions map[string]bool
}

func openStore(t *testing.T) *watchedStore {
	t.Helper()
	db, err := store.Open(t.Context(), storetest.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return &watchedStore{DB: db, sessions: make(map[string]bool)}
}

func (w *watchedStore) CreateSession(ctx context.Context, s login.SessionState, replaces string, ev audit.Event) error {
	err := w.DB.CreateSession(ctx, s, replaces, ev)
	w.note(err, ev, func() {
		delete(w.sessions, replaces)
		w.sessions[s.Hash] = true
	})
	return err
}

func (w *watchedStore) EndSession(ctx context.Context, hash string, ev audit.Event) error {
	err := w.DB.EndSession(ctx, hash, ev)
	w.note(err, ev, func() { delete(w.sessions, hash) })
	return err
}

func (w *watchedStore) RecordEvent(ctx context.Context, ev audit.Event) error {
	err := w.DB.RecordEvent(ctx, ev)
	w.note(err, ev, func() {})
	return err
}

func (w *watchedStore) note(err error, ev audit.Event, change func()) {
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, ev)
	change()
}

func (w *watchedStore) Events() []audit.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}

func (w *watchedStore) Sessions() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.sessions)
}

// logBuffer can be read while a request still writes its line.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// house is a server with a desk, and what a test wants to look at.
type house struct {
	t         *testing.T
	url       string
	desk      *login.Desk
	directory *org.Directory
	factors   *mfa.Factors
	store     *watchedStore
	clock     *clock
	log       *logBuffer
}

// derive is a master key's Derive.
func derive(purpose string) []byte {
	sum := sha256.Sum256([]byte(purpose))
	return sum[:]
}

func newHouse(t *testing.T) *house {
	t.Helper()
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	h := &house{
		t: t, url: srv.URL, store: openStore(t), log: new(logBuffer),
		clock: &clock{t: time.Date(2026, 11, 23, 14, 20, 0, 0, time.UTC)},
	}
	h.directory = org.NewDirectory(h.store, h.clock.now)
	h.desk = h.newDesk(srv.URL)
	h.desk.Mount(mux)
	mux.Handle("GET /{$}", h.desk.Site.Page(func(w http.ResponseWriter, r *http.Request) error {
		s, err := h.desk.Session(r)
		if errors.Is(err, login.ErrNoSession) {
			_, err = io.WriteString(w, "nobody")
			return err
		}
		if err != nil {
			return err
		}
		_, err = io.WriteString(w, s.Person.Email+" "+strings.Join(s.AMR, " ")+" "+s.AuthTime.Format(time.TimeOnly)+" at "+r.URL.RequestURI())
		return err
	}))
	return h
}

func (h *house) newDesk(publicURL string) *login.Desk {
	h.t.Helper()
	pages, err := web.NewPages()
	if err != nil {
		h.t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(h.log, nil))
	site, err := web.New(web.Config{Pages: pages, Logger: logger, Now: h.clock.now, PublicURL: publicURL})
	if err != nil {
		h.t.Fatal(err)
	}
	if h.factors, err = mfa.New(mfa.Config{Store: h.store, Derive: derive, PublicURL: publicURL, Now: h.clock.now}); err != nil {
		h.t.Fatal(err)
	}
	d, err := login.New(login.Config{
		Store: h.store, People: h.store, Directory: h.directory, Factors: h.factors, Site: site, Key: bytes.Repeat([]byte{1}, 32),
		PublicURL: publicURL, Now: h.clock.now, Logger: logger,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return d
}

func (h *house) addAda() org.Person {
	h.t.Helper()
	p, err := h.directory.AddPerson(context.Background(), org.NewPerson{Email: adaEmail, Name: "Ada"}, audit.System())
	if err != nil {
		h.t.Fatal(err)
	}
	hash, err := adaHash()
	if err == nil {
		err = h.store.SetPasswordHash(context.Background(), p.ID, hash, audit.Event{Kind: audit.PasswordChanged})
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// adaHash is that of Ada's password, computed once: it takes its time by
// design, more under the race detector.
var adaHash = sync.OnceValues(org.Password(adaPassword).Hash)

// browser keeps cookies and stops at redirects that a test asks about.
type browser struct {
	*house
	http.Client
}

func (h *house) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return &browser{h, http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

type answer struct {
	*http.Response
	body string
}

func (b *browser) do(r *http.Request) answer {
	b.t.Helper()
	resp, err := b.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{resp, string(body)}
}

func (b *browser) get(path string) answer {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.url+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.do(r)
}

func (b *browser) post(path string, pairs ...string) answer {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return b.do(r)
}

func (b *browser) signIn(more ...string) answer {
	b.t.Helper()
	return b.post("/login", append([]string{"email", adaEmail, "password", adaPassword}, more...)...)
}

func (b *browser) who() string {
	b.t.Helper()
	return b.get("/").body
}

func (a answer) expect(t *testing.T, status int, parts ...string) {
	t.Helper()
	if a.StatusCode != status {
		t.Errorf("%s %s: %d, want %d\n%s", a.Request.Method, a.Request.URL, a.StatusCode, status, a.body)
	}
	for _, p := range parts {
		if !strings.Contains(a.body, p) {
			t.Errorf("%s %s does not say %q:\n%s", a.Request.Method, a.Request.URL, p, a.body)
		}
	}
}

func (a answer) expectRedirect(t *testing.T, to string) {
	t.Helper()
	a.expect(t, http.StatusSeeOther)
	if got := a.Header.Get("Location"); got != to {
		t.Errorf("redirect to %q, want %q", got, to)
	}
}

func (a answer) cookie(name string) *http.Cookie {
	for _, c := range a.Cookies() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func TestSignIn(t *testing.T) {
	h := newHouse(t)
	h.addAda()
	b := h.browser()
	b.get("/login").expect(t, 200, "<h1>Sign in</h1>", ">Email</label>", ">Password</label>", ">Sign in</button>")
	a := b.post("/login", "email", " ADA@Example.com ", "password", adaPassword)
	a.expectRedirect(t, "/")
	if got := b.who(); got != "ada@example.com pwd 14:20:00 at /" {
		t.Errorf("signed in as %q", got)
	}
	c := a.cookie("oriel")
	if c == nil || !c.HttpOnly || c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
		t.Errorf("cookie %+v", c)
	}
	b.get("/login").expectRedirect(t, "/")
	ev := h.store.Events()
	if last := ev[len(ev)-1]; last.Kind != audit.SignedIn || last.Actor.Address != "127.0.0.1" {
		t.Errorf("event %+v", last)
	}
}

func TestCookieOverHTTPS(t *testing.T) {
	h := newHouse(t)
	h.addAda()
	mux := http.NewServeMux()
	h.newDesk("https://oriel.example").Mount(mux)
	r := httptest.NewRequest("POST", "https://oriel.example/login", strings.NewReader(url.Values{"email": {adaEmail}, "password": {adaPassword}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	got := w.Header().Get("Set-Cookie")
	if !regexp.MustCompile(`^__Host-oriel=[A-Z2-7]{52}; Path=/; Max-Age=604800; HttpOnly; Secure; SameSite=Lax$`).MatchString(got) {
		t.Errorf("cookie %q", got)
	}
}

// TestCase093_RefusalsLookAlike: whatever the reason, the answer is the same.
func TestCase093_RefusalsLookAlike(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	h.addAda()
	for _, n := range []org.NewPerson{
		{Email: "nopassword@example.com", Name: "No Password"},
		{Email: "disabled@example.com", Name: "Disabled", Password: adaPassword},
	} {
		if _, err := h.directory.AddPerson(ctx, n, audit.System()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.directory.Disable(ctx, "disabled@example.com", audit.System()); err != nil {
		t.Fatal(err)
	}
	var first string
	for _, tt := range []struct{ email, password, reason string }{
		{adaEmail, "wrong", "wrong password"},
		{"unknown@example.com", adaPassword, "unknown e-mail address"},
		{"not an address", adaPassword, "unknown e-mail address"},
		{"nopassword@example.com", adaPassword, "the account has no password"},
		{"nopassword@example.com", "nobody has this password", "the account has no password"},
		{"disabled@example.com", adaPassword, "the account is disabled"},
	} {
		b := h.browser()
		a := b.post("/login", "email", tt.email, "password", tt.password)
		a.expect(t, 401, wrongText)
		same := strings.ReplaceAll(a.body, tt.email, "EMAIL")
		if first == "" {
			first = same
		}
		if same != first {
			t.Errorf("%s: another page:\n%s", tt.reason, a.body)
		}
		if strings.Contains(a.body, tt.password) && tt.password != "wrong" {
			t.Error("the password is on the page")
		}
		if got := b.who(); got != "nobody" {
			t.Errorf("signed in as %q", got)
		}
		ev := h.store.Events()
		if last := ev[len(ev)-1]; last.Kind != audit.SignInRefused || last.Detail != tt.reason {
			t.Errorf("event %+v, want %s", last, tt.reason)
		}
	}
	h.browser().post("/login", "email", adaEmail, "password", "").expect(t, 422, "Type your e-mail address and your password.")
	if strings.Contains(h.log.String(), "wrong password") || strings.Contains(h.log.String(), adaPassword) {
		t.Errorf("log:\n%s", h.log)
	}
}

func TestCase093_ThrottledSignIn(t *testing.T) {
	h := newHouse(t)
	h.addAda()
	b := h.browser()
	for range 5 {
		b.post("/login", "email", adaEmail, "password", "wrong").expect(t, 401, wrongText)
	}
	b.post("/login", "email", adaEmail, "password", "wrong").expect(t, 429)
	// While delayed, the password is not looked at.
	a := b.signIn()
	a.expect(t, 429, "Try again in 1 second.", adaEmail)
	if a.Header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", a.Header.Get("Retry-After"))
	}
	h.clock.turn(time.Second)
	b.signIn().expectRedirect(t, "/")
	for range 5 {
		h.browser().post("/login", "email", adaEmail, "password", "wrong").expect(t, 401)
	}
}

// TestCase094_Return: the way back is a signed local path and nothing else.
func TestCase094_Return(t *testing.T) {
	h := newHouse(t)
	h.addAda()
	b := h.browser()
	to := "/oauth/authorize?state=a%2Bb%26c&x=1"
	path := h.desk.SignInURL(to, login.SignInOptions{LoginHint: adaEmail})
	b.get(path).expect(t, 200, `value="ada@example.com"`)
	u, err := url.Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	step := u.Query().Get("step")
	b.post("/login", "email", adaEmail, "password", "wrong", "step", step).expect(t, 401, step)
	b.signIn("step", step).expectRedirect(t, to)
	b.get(path).expectRedirect(t, to)

	for _, bad := range []string{"https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "", "x"} {
		b.get(h.desk.SignInURL(bad, login.SignInOptions{})).expectRedirect(t, "/")
	}
	other := h.desk.Steps.Sign("another purpose", map[string]string{"r": "/"}, time.Hour)
	evil := h.desk.Steps.Sign("sign-in return", map[string]string{"r": "https://evil.example/"}, time.Hour)
	for _, bad := range []string{"x", step[:len(step)-1], other, evil} {
		h.browser().get("/login?step="+url.QueryEscape(bad)).expect(t, 400, "too old")
		h.browser().signIn("step", bad).expect(t, 400, "too old")
	}
	h.browser().get("/login?return=https://evil.example&next=//evil").expect(t, 200)
	h.clock.turn(time.Hour)
	h.browser().signIn("step", step).expect(t, 400, "too old")
}

func TestReauthenticate(t *testing.T) {
	h := newHouse(t)
	h.addAda()
	b := h.browser()
	b.signIn().expectRedirect(t, "/")
	path := h.desk.SignInURL("/next", login.SignInOptions{Reauthenticate: true})
	h.clock.turn(10 * time.Minute)
	b.get(path).expect(t, 200, "confirm that it is still you")
	u, err := url.Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	b.signIn("step", u.Query().Get("step")).expectRedirect(t, "/next")
	if got := b.who(); got != "ada@example.com pwd 14:30:00 at /" {
		t.Errorf("signed in as %q", got)
	}
	if n := h.store.Sessions(); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// TestCase091_SessionFixation: an id that was known before the sign-in is worth
// nothing after it.
func TestCase091_SessionFixation(t *testing.T) {
	h := newHouse(t)
	h.addAda()
	b := h.browser()
	u, err := url.Parse(h.url)
	if err != nil {
		t.Fatal(err)
	}
	planted := strings.Repeat("A", 52)
	b.Jar.SetCookies(u, []*http.Cookie{{Name: "oriel", Value: planted, Path: "/"}})
	first := b.signIn().cookie("oriel")
	if first == nil || first.Value == planted {
		t.Fatalf("cookie %+v", first)
	}
	second := b.signIn().cookie("oriel")
	if second.Value == first.Value {
		t.Error("the id did not change")
	}
	for _, old := range []string{planted, first.Value} {
		thief := h.browser()
		thief.Jar.SetCookies(u, []*http.Cookie{{Name: "oriel", Value: old, Path: "/"}})
		if got := thief.who(); got != "nobody" {
			t.Errorf("an old id is %q", got)
		}
	}
}

func TestSignOut(t *testing.T) {
	h := newHouse(t)
	h.addAda()
	b := h.browser()
	id := b.signIn().cookie("oriel").Value
	b.get("/logout").expect(t, 405)
	b.post("/logout").expect(t, 200, "You are signed out")
	if got := b.who(); got != "nobody" {
		t.Errorf("still %q", got)
	}
	u, err := url.Parse(h.url)
	if err != nil {
		t.Fatal(err)
	}
	thief := h.browser()
	thief.Jar.SetCookies(u, []*http.Cookie{{Name: "oriel", Value: id, Path: "/"}})
	if got := thief.who(); got != "nobody" {
		t.Errorf("the server still knows %q", got)
	}
	b.post("/logout").expect(t, 200)
	var ended int
	for _, ev := range h.store.Events() {
		if ev.Kind == audit.SignedOut {
			ended++
		}
	}
	if ended != 1 {
		t.Errorf("%d events", ended)
	}

	b.signIn()
	a := b.post("/logout", "step", h.desk.SignOutStep("/oauth/authorize?x=1"))
	a.expect(t, 303)
	b.get(a.Header.Get("Location")).expect(t, 200, ">Sign in</button>")
	u, err = url.Parse(a.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	b.signIn("step", u.Query().Get("step")).expectRedirect(t, "/oauth/authorize?x=1")
}

func TestSessionEnds(t *testing.T) {
	h := newHouse(t)
	h.addAda()
	ctx := context.Background()
	b := h.browser()
	b.signIn()
	h.clock.turn(login.SessionIdle - time.Second)
	if got := b.who(); got == "nobody" {
		t.Error("gone before its idle time")
	}
	h.clock.turn(login.SessionIdle)
	if got := b.who(); got != "nobody" {
		t.Errorf("idle session is %q", got)
	}
	b.signIn()
	for range 14 {
		h.clock.turn(login.SessionIdle - time.Second)
		b.who()
	}
	if got := b.who(); got == "nobody" {
		t.Error("used session is gone before its time")
	}
	h.clock.turn(time.Minute)
	if got := b.who(); got != "nobody" {
		t.Errorf("session older than a week is %q", got)
	}
	b.signIn()
	if _, err := h.directory.Disable(ctx, adaEmail, audit.System()); err != nil {
		t.Fatal(err)
	}
	if got := b.who(); got != "nobody" {
		t.Errorf("disabled person is %q", got)
	}
	if err := h.store.SweepSessions(ctx, h.clock.now(), h.clock.now()); err != nil {
		t.Fatal(err)
	}
}

func TestCase092_ForeignFormsAreRefused(t *testing.T) {
	h := newHouse(t)
	h.addAda()
	for _, path := range []string{"/login", "/logout", "/login/setup"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.url+path, strings.NewReader(url.Values{"email": {adaEmail}, "password": {adaPassword}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		h.browser().do(r).expect(t, 403, "another site")
	}
	if n := h.store.Sessions(); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

func TestCase096_OutdatedHashIsUpgraded(t *testing.T) {
	h := newHouse(t)
	p := h.addAda()
	ctx := context.Background()
	old, err := argon2id.CreateHash(adaPassword, &argon2id.Params{Memory: 8 << 10, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.store.SetPasswordHash(ctx, p.ID, old, audit.Event{}); err != nil {
		t.Fatal(err)
	}
	h.browser().post("/login", "email", adaEmail, "password", "wrong").expect(t, 401)
	if got, _ := h.store.PasswordHash(ctx, p.ID); got != old {
		t.Error("a wrong password changed the hash")
	}
	h.browser().signIn().expectRedirect(t, "/")
	got, err := h.store.PasswordHash(ctx, p.ID)
	if err != nil || !strings.HasPrefix(got, "$argon2id$v=19$m=65536,t=3,p=4$") {
		t.Errorf("hash %q, %v", got, err)
	}
	h.browser().signIn().expectRedirect(t, "/")
}

func TestCase095_OwnerLink(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	link := func() string {
		t.Helper()
		u, err := h.desk.NewSetupURL(ctx)
		if err != nil {
			t.Fatal(err)
		}
		path, ok := strings.CutPrefix(u, h.url)
		if !ok {
			t.Fatalf("link %q", u)
		}
		return path
	}
	token := func(path string) string { return strings.TrimPrefix(path, "/login/setup?token=") }
	good := func(token string) []string {
		return []string{"token", token, "name", "Ada Lovelace", "email", adaEmail, "password", adaPassword, "team", "Web Shöp & Co."}
	}
	with := func(form []string, key, value string) []string {
		form = append([]string(nil), form...)
		for i := 0; i < len(form); i += 2 {
			if form[i] == key {
				form[i+1] = value
			}
		}
		return form
	}

	b := h.browser()
	replaced := link()
	expired := link()
	b.get(replaced).expect(t, 410, "Restart the server")
	b.get(expired).expect(t, 200, "Create the owner account", ">Create account</button>", "15 characters")
	b.get("/login/setup").expect(t, 410)
	b.post("/login/setup", good("")...).expect(t, 410)
	h.clock.turn(time.Hour)
	b.get(expired).expect(t, 410, "oriel user add --owner")
	b.post("/login/setup", good(token(expired))...).expect(t, 410)

	tok := token(link())
	for _, tt := range []struct{ field, value, says string }{
		{"name", " ", "A name is needed."},
		{"name", "a\u202eb", "control characters"},
		{"email", "ada@", "is not an e-mail address"},
		{"password", "short", "at least 15 characters"},
		{"team", "", "A name is needed."},
		{"team", strings.Repeat("x", 101), "longer than 100"},
	} {
		a := b.post("/login/setup", with(good(tok), tt.field, tt.value)...)
		a.expect(t, 422, tt.says, `aria-invalid="true"`)
		if strings.Contains(a.body, adaPassword) || strings.Contains(a.body, `value="short"`) {
			t.Error("the password is on the page")
		}
		if tt.field != "email" {
			a.expect(t, 422, `value="ada@example.com"`)
		}
	}
	if has, _ := h.directory.HasOwner(ctx); has {
		t.Fatal("there is an owner already")
	}

	b.post("/login/setup", good(tok)...).expectRedirect(t, "/")
	if got := b.who(); !strings.HasPrefix(got, "ada@example.com pwd") {
		t.Errorf("signed in as %q", got)
	}
	p, err := h.directory.PersonByEmail(ctx, adaEmail)
	if err != nil || !p.Owner {
		t.Errorf("%+v, %v", p, err)
	}
	ms, err := h.directory.Memberships(ctx, p.ID)
	if err != nil || len(ms) != 1 || ms[0].Team.Slug != "web-shop-co" || ms[0].Team.Name != "Web Shöp & Co." || ms[0].Roles[0] != "admin" {
		t.Errorf("%+v, %v", ms, err)
	}

	// Dead now, and none is made any more.
	b.get("/login/setup?token="+tok).expect(t, 410, "has an owner already")
	h.browser().post("/login/setup", with(good(tok), "email", "mallory@example.com")...).expect(t, 410, "has an owner already")
	if u, err := h.desk.NewSetupURL(ctx); err != nil || u != "" {
		t.Errorf("another link %q, %v", u, err)
	}
	if strings.Contains(h.log.String(), tok) {
		t.Error("the token is in the log")
	}
}

func TestOwnerLinkRace(t *testing.T) {
	h := newHouse(t)
	u, err := h.desk.NewSetupURL(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	tok := strings.TrimPrefix(u, h.url+"/login/setup?token=")
	status := make(chan int, 4)
	for _, name := range []string{"a", "b", "c", "d"} {
		b := h.browser()
		go func() {
			status <- b.post("/login/setup", "token", tok, "name", "Person "+name, "email", name+"@example.com", "password", adaPassword, "team", "Team "+name).StatusCode
		}()
	}
	count := make(map[int]int)
	for range 4 {
		count[<-status]++
	}
	if count[303] != 1 || count[410] != 3 {
		t.Errorf("answers %v", count)
	}
}

func TestSlugFor(t *testing.T) {
	for in, want := range map[string]string{
		"Web Shop": "web-shop", "  Ünïcödé -- Team!  ": "unicode-team", "日本": "team", "": "team", "--": "team",
		strings.Repeat("ab ", 30): "ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-a", strings.Repeat("a", 39) + " b": strings.Repeat("a", 39),
	} {
		got := login.SlugFor(in)
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if _, err := org.ParseSlug(got); err != nil {
			t.Error(err)
		}
	}
}
