package oauth_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/testkit"
)

const grantDevice = "urn:ietf:params:oauth:grant-type:device_code"

// device is a headless client in the middle of RFC 8628.
type device struct {
	s            *testkit.Server
	c            *testkit.Client
	code         string
	user         string
	complete     string
	verification string
}

func startDevice(t *testing.T, s *testkit.Server, c *testkit.Client, form url.Values) *device {
	t.Helper()
	form.Set("client_id", c.ID)
	res := s.Do(http.MethodPost, "/oauth/device_authorization", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	wantStatus(t, res, http.StatusOK)
	var a struct {
		ExpiresIn int `json:"expires_in"`
		Interval  int `json:"interval"`
	}
	s.Must(res.JSON(&a))
	d := &device{s, c, res.Member("device_code"), res.Member("user_code"), res.Member("verification_uri_complete"), res.Member("verification_uri")}
	if a.ExpiresIn != 600 || a.Interval != 5 || d.verification != s.URL+"/device" || d.complete != s.URL+"/device?user_code="+d.user ||
		!regexp.MustCompile(`^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$`).MatchString(d.user) || len(d.code) < 40 {
		t.Fatalf("answer: %s", res.Body)
	}
	if res.Header.Get("Cache-Control") != "no-store" {
		t.Error("the answer may be cached")
	}
	return d
}

func (d *device) poll() testkit.Response {
	return d.c.Token(url.Values{"grant_type": {grantDevice}, "device_code": {d.code}})
}

// signedIn is a browser of a person.
func signedInAs(s *testkit.Server, email string) *testkit.Browser {
	b := s.Browser()
	b.SignIn("/login", email)
	return b
}

// deviceForm returns the step of a device's consent page.
func deviceForm(page string) string {
	_, form, _ := strings.Cut(page, `action="/device/consent"`)
	return testkit.Field(form, "step")
}

func TestCase062_DeviceFlow(t *testing.T) {
	s := newServer(t)
	c := s.Register(`{"client_name":"Headless box","grant_types":["` + grantDevice + `"],"token_endpoint_auth_method":"none","redirect_uris":["http://127.0.0.1/"]}`)
	d := startDevice(t, s, c, url.Values{"scope": {"logs:read"}})
	wantOAuthError(t, d.poll(), 400, "authorization_pending")
	s.Clock.Advance(5 * time.Second)
	wantOAuthError(t, d.poll(), 400, "authorization_pending")
	// RFC 8628 §3.5: too early, and then 5 seconds more.
	wantOAuthError(t, d.poll(), 400, "slow_down")
	s.Clock.Advance(6 * time.Second)
	wantOAuthError(t, d.poll(), 400, "slow_down")
	s.Clock.Advance(15 * time.Second)
	wantOAuthError(t, d.poll(), 400, "authorization_pending")

	// The page asks to sign in, comes back with the code, and shows who asks.
	b := s.Browser()
	page := b.SignIn(b.Get(d.complete).Header.Get("Location"), "ada@example.com")
	if !strings.Contains(page.Body, d.user) || !strings.Contains(page.Body, "If somebody sent you") || strings.Contains(page.Body, "Headless box") {
		t.Fatalf("page with the code:\n%s", page.Body)
	}
	consent := b.Post("/device", url.Values{"user_code": {strings.ToLower(strings.ReplaceAll(d.user, "-", " "))}})
	wantStatus(t, consent, http.StatusOK)
	for _, words := range []string{d.user, "Headless box", "Allow access", "Deny", "stop here", "shop", "bank", "Read logs"} {
		if !strings.Contains(consent.Body, words) {
			t.Errorf("consent page without %q", words)
		}
	}
	// Looking changed nothing.
	s.Clock.Advance(15 * time.Second)
	wantOAuthError(t, d.poll(), 400, "authorization_pending")
	form := testkit.ConsentForm(consent.Body, "shop")
	form.Set("step", deviceForm(consent.Body))
	unticked := url.Values{"step": form["step"], "team": {"shop"}, "decision": {"allow"}}
	wantStatus(t, b.Post("/device/consent", unticked), http.StatusUnprocessableEntity)
	for range 2 { // a double click
		done := b.Post("/device/consent", form)
		wantStatus(t, done, http.StatusOK)
		if !strings.Contains(done.Body, "Your device is connected") {
			t.Errorf("done page:\n%s", done.Body)
		}
	}
	s.Clock.Advance(15 * time.Second)
	// Another client has no use for the code.
	other := s.Register()
	wantOAuthError(t, (&device{s: s, c: other, code: d.code}).poll(), 400, "invalid_grant")
	res := d.poll()
	wantStatus(t, res, http.StatusOK)
	if res.Member("scope") != "logs:read" || res.Member("token_type") != "Bearer" || res.Member("refresh_token") == "" {
		t.Errorf("tokens: %s", res.Body)
	}
	c.Access, c.Refresh = res.Member("access_token"), res.Member("refresh_token")
	wantStatus(t, c.Call("tools/list", ""), http.StatusOK)
	wantStatus(t, c.Renew(c.Refresh), http.StatusOK)
	// Once.
	s.Clock.Advance(15 * time.Second)
	wantOAuthError(t, d.poll(), 400, "invalid_grant")
	conns, err := s.Admin.Authority.Connections(t.Context(), grant.ConnectionFilter{})
	s.Must(err)
	if len(conns) != 1 || conns[0].Team.Slug != "shop" {
		t.Errorf("connections: %+v", conns)
	}
	events(t, s, audit.DeviceApproved, 1)
}

func TestCase062_DeviceDenied(t *testing.T) {
	s := newServer(t)
	d := startDevice(t, s, s.Register(), url.Values{})
	b := signedInAs(s, "ada@example.com")
	page := b.Post("/device", url.Values{"user_code": {d.user}})
	wantStatus(t, b.Post("/device/consent", url.Values{"step": {deviceForm(page.Body)}, "decision": {"deny"}}), http.StatusOK)
	wantOAuthError(t, d.poll(), 400, "access_denied")
	// Nobody can allow it any more.
	wantStatus(t, b.Post("/device/consent", url.Values{"step": {deviceForm(page.Body)}, "team": {"shop"}, "decision": {"allow"}}), http.StatusBadRequest)
	events(t, s, audit.GrantDenied, 1)
}

func TestCase062_DeviceExpired(t *testing.T) {
	s := newServer(t)
	d := startDevice(t, s, s.Register(), url.Values{})
	b := signedInAs(s, "ada@example.com")
	page := b.Post("/device", url.Values{"user_code": {d.user}})
	s.Clock.Advance(10*time.Minute + time.Second)
	wantOAuthError(t, d.poll(), 400, "expired_token")
	wantStatus(t, b.Post("/device", url.Values{"user_code": {d.user}}), http.StatusBadRequest)
	wantStatus(t, b.Post("/device/consent", url.Values{"step": {deviceForm(page.Body)}, "team": {"shop"}, "decision": {"allow"}}), http.StatusBadRequest)
}

func TestCase062_DeviceTeamAndPerson(t *testing.T) {
	s := newServer(t)
	d := startDevice(t, s, s.Register(), url.Values{"resource": {s.URL + "/mgmt/api/v1/teams/shop/mcp"}})
	ada, owner := signedInAs(s, "ada@example.com"), signedInAs(s, "owner@example.com")
	page := ada.Post("/device", url.Values{"user_code": {d.user}})
	if strings.Contains(page.Body, `value="bank"`) {
		t.Error("the resource of one team offers another")
	}
	step := deviceForm(page.Body)
	wantStatus(t, ada.Post("/device/consent", url.Values{"step": {step}, "team": {"bank"}, "decision": {"allow"}}), http.StatusForbidden)
	wantStatus(t, ada.Post("/device/consent", url.Values{"step": {step}, "decision": {"allow"}}), http.StatusBadRequest)
	// A page of one person is no page of another.
	wantStatus(t, owner.Post("/device/consent", url.Values{"step": {step}, "team": {"shop"}, "decision": {"allow"}}), http.StatusForbidden)
	wantStatus(t, s.Browser().Post("/device/consent", url.Values{"step": {step}, "team": {"shop"}, "decision": {"allow"}}), http.StatusForbidden)
	wantOAuthError(t, d.poll(), 400, "authorization_pending")
	// From another site nothing comes in.
	if res := s.Do(http.MethodPost, "/device", "user_code="+d.user, "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "cross-site"); res.Status != http.StatusForbidden {
		t.Errorf("from another site: %d", res.Status)
	}
	form := url.Values{"client_id": {d.c.ID}, "resource": {"https://elsewhere.example/"}}
	wantOAuthError(t, s.Do(http.MethodPost, "/oauth/device_authorization", form.Encode(), "Content-Type", "application/x-www-form-urlencoded"), 400, "invalid_target")
	wantOAuthError(t, s.Do(http.MethodPost, "/oauth/device_authorization", "client_id=nobody", "Content-Type", "application/x-www-form-urlencoded"), 401, "invalid_client")
}

func TestRFC8628_5_1_GuessingIsLimited(t *testing.T) {
	s := newServer(t)
	d := startDevice(t, s, s.Register(), url.Values{})
	b := signedInAs(s, "ada@example.com")
	for range 5 {
		wantStatus(t, b.Post("/device", url.Values{"user_code": {"BBBB-BBBB"}}), http.StatusBadRequest)
	}
	res := b.Post("/device", url.Values{"user_code": {d.user}})
	wantStatus(t, res, http.StatusTooManyRequests)
	if res.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	// Others go on.
	wantStatus(t, signedInAs(s, "owner@example.com").Post("/device", url.Values{"user_code": {d.user}}), http.StatusOK)
	s.Clock.Advance(10*time.Minute + time.Second)
	again := startDevice(t, s, d.c, url.Values{})
	wantStatus(t, b.Post("/device", url.Values{"user_code": {again.user}}), http.StatusOK)
	events(t, s, audit.DeviceGuessed, 5)
}

func TestRFC8628_FloodPushesOutItself(t *testing.T) {
	s := newServer(t)
	c := s.Register()
	first := startDevice(t, s, c, url.Values{})
	for range 50 {
		startDevice(t, s, c, url.Values{})
	}
	last := startDevice(t, s, c, url.Values{})
	wantOAuthError(t, first.poll(), 400, "invalid_grant")
	wantOAuthError(t, last.poll(), 400, "authorization_pending")
}

func TestRFC8628_4_Metadata(t *testing.T) {
	s := newServer(t)
	var m struct {
		Endpoint string   `json:"device_authorization_endpoint"`
		Grants   []string `json:"grant_types_supported"`
		Profiles []string `json:"authorization_grant_profiles_supported"`
	}
	s.Must(s.Do(http.MethodGet, "/.well-known/oauth-authorization-server", "").JSON(&m))
	if all := strings.Join(m.Grants, " "); m.Endpoint != s.URL+"/oauth/device_authorization" || !strings.Contains(all, grantDevice) ||
		!strings.Contains(all, grantJWTBearer) || len(m.Profiles) != 1 {
		t.Errorf("metadata: %+v", m)
	}
}

// events checks how many events of a kind the audit holds.
func events(t *testing.T, s *testkit.Server, kind audit.Kind, want int) []audit.Entry {
	t.Helper()
	found, err := s.Admin.Events(t.Context(), audit.Filter{Kind: kind, Limit: 100})
	s.Must(err)
	if len(found) != want {
		t.Errorf("%d events %s, want %d: %+v", len(found), kind, want, found)
	}
	return found
}
