package clients

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/test/testenv"
)

const (
	email = "ada@example.com"
	name  = "Ada Lovelace"
)

// scene is an installation with one person, two teams and some logs.
type scene struct {
	*testenv.Oriel
	browser *testenv.Browser
	keys    map[string]string // ingest key by team
}

func newScene(t *testing.T, flags ...string) *scene {
	t.Helper()
	s := &scene{Oriel: testenv.StartOriel(t, flags...), browser: testenv.NewBrowser(t), keys: make(map[string]string)}
	s.AddPerson(email, name)
	for slug, team := range map[string]string{"web-shop": "Web Shop", "payments": "Payments"} {
		s.AddTeam(slug, team)
		s.SetMember(slug, email, "analyst")
		s.keys[slug] = s.IngestKey(slug)
	}
	now := time.Now()
	s.SendLogs(s.keys["web-shop"],
		testenv.LogRecord{Time: now.Add(-2 * time.Minute), Service: "checkout", Severity: "ERROR", Body: "card declined marigold"},
		testenv.LogRecord{Time: now.Add(-time.Minute), Service: "cart", Severity: "INFO", Body: "basket opened marigold"},
	)
	s.SendLogs(s.keys["payments"],
		testenv.LogRecord{Time: now.Add(-time.Minute), Service: "ledger", Severity: "WARN", Body: "balance late foxglove"},
	)
	return s
}

// consents is a person who signs in if asked, picks the team and allows.
func (s *scene) consents(team string) person {
	return func(url string) { s.browser.Consent(url, email, team) }
}

// connect makes a client and connects it to a team.
func (s *scene) connect(t *testing.T, make setup, team string) (client, *person) {
	t.Helper()
	p := s.consents(team)
	c := make(t, s.MCPURL(), &p)
	if err := c.Connect(); err != nil {
		t.Fatalf("connect: %v", err)
	}
	p = nil
	c.Exchanges()
	return c, &p
}

// works fails the test unless the client sees the logs of the team.
func works(t *testing.T, c client) {
	t.Helper()
	// What was sent becomes visible a moment later, in each of several
	// processes' engines. They take turns, whatever else the client asks.
	testenv.Within(t, testenv.ShortWait, "search_logs finds a line", func() error {
		for range 2*testenv.Processes(t) - 1 {
			r, err := c.Call("search_logs", map[string]any{"query": "marigold"})
			if err != nil {
				return err
			}
			if r.Failed || !strings.Contains(r.Text, "card declined marigold") {
				return fmt.Errorf("it answered %q", r.Text)
			}
		}
		return nil
	})
}

// refused fails the test unless the client's next call is refused, within the
// time that a command may take to take hold, as the contract says: 401 with
// the whole challenge, and invalid_grant for its refresh.
func refused(t *testing.T, c client, refresh bool) {
	t.Helper()
	testenv.Within(t, testenv.TakesHold, "the connection is refused", func() error {
		switch _, err := c.Call("whoami", nil); {
		case errors.Is(err, errAskedToSignIn):
			return nil
		case err != nil:
			return fmt.Errorf("the client failed otherwise: %w", err)
		default:
			return errors.New("the call still works")
		}
	})
	exchanges := c.Exchanges()
	e, err := refusal(exchanges)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`^Bearer `, `error="invalid_token"`, `error_description="[^"]+"`, `resource_metadata="http://[^"]+/\.well-known/oauth-protected-resource/mgmt/api/v1/mcp"`, `scope="[^"]*logs:read[^"]*"`} {
		if !regexp.MustCompile(want).MatchString(e.Challenge) {
			t.Errorf("challenge %q lacks %s", e.Challenge, want)
		}
	}
	if refresh {
		if err := c.Refresh(); err == nil {
			t.Error("the refresh token still works")
		}
		exchanges = c.Exchanges()
	}
	if !slices.ContainsFunc(exchanges, func(e testenv.Exchange) bool {
		return strings.HasSuffix(path(e.URL), "/token") && e.Status == http.StatusBadRequest && e.Error == "invalid_grant"
	}) {
		t.Errorf("no 400 invalid_grant in %+v", exchanges)
	}
}

func forEachKind(t *testing.T, test func(t *testing.T, kind string, make setup)) {
	t.Helper()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			test(t, k.name, k.new)
		})
	}
}

// needsRefresh says whether a client does not refresh by itself on a 401: the
// Go SDK asks the person at once, the TypeScript SDK tries its refresh token
// and then drops it.
func needsRefresh(kind string) bool { return kind == "Go SDK" }

// TestConnect is the main job: 401, discovery, registration, browser, code,
// token, list, call.
func TestConnect(t *testing.T) {
	t.Parallel()
	forEachKind(t, func(t *testing.T, _ string, make setup) {
		s := newScene(t)
		p := s.consents("Web Shop")
		c := make(t, s.MCPURL(), &p)
		if err := c.Connect(); err != nil {
			t.Fatalf("connect: %v", err)
		}
		p = nil

		first := c.Exchanges()
		i := slices.IndexFunc(first, func(e testenv.Exchange) bool { return e.Status == http.StatusUnauthorized })
		if i < 0 {
			t.Fatalf("no 401 at first: %+v", first)
		}
		if ch := first[i].Challenge; strings.Contains(ch, "error=") || !strings.Contains(ch, "resource_metadata=") || !strings.Contains(ch, "scope=") {
			t.Errorf("first challenge: %q, want resource_metadata and scope, no error (RFC 6750 §3.1)", ch)
		}

		tools, err := c.Tools()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(tools, "whoami") || !slices.Contains(tools, "search_logs") {
			t.Errorf("tools: %q", tools)
		}
		who, err := c.Call("whoami", nil)
		if err != nil || who.Failed {
			t.Fatalf("whoami: %v %+v", err, who)
		}
		for _, want := range []string{email, "web-shop", "analyst", "logs:read"} {
			if !strings.Contains(who.Text, want) {
				t.Errorf("whoami lacks %q: %s", want, who.Text)
			}
		}
		works(t, c)
		r, err := c.Call("search_logs", map[string]any{"query": "marigold", "service": "cart"})
		if err != nil || r.Failed || strings.Contains(r.Text, "card declined") || !strings.Contains(r.Text, "basket opened") {
			t.Errorf("search_logs of one service: %v %s", err, r.Text)
		}
		r, err = c.Call("search_logs", map[string]any{"query": "marigold", "severity": "error"})
		if err != nil || r.Failed || !strings.Contains(r.Text, "card declined") || strings.Contains(r.Text, "basket opened") {
			t.Errorf("search_logs of one severity: %v %s", err, r.Text)
		}
		if r, err = c.Call("search_logs", map[string]any{"query": "foxglove"}); err != nil || strings.Contains(r.Text, "balance late") {
			t.Errorf("search_logs finds another team's line: %v %s", err, r.Text)
		}

		grants := s.Grants("--email", email, "--team", "web-shop")
		if len(grants) != 1 || grants[0].ClientName != clientName || grants[0].Resource != s.MCPURL() {
			t.Errorf("grants: %+v", grants)
		}

		// Neither a restart of the client nor one of the server needs a person.
		c.Restart()
		if err := c.Connect(); err != nil {
			t.Errorf("connect after a restart of the client: %v", err)
		}
		works(t, c)
		s.Oriel.Restart()
		if err := c.Connect(); err != nil {
			t.Errorf("connect after a restart of the server: %v", err)
		}
		works(t, c)
		if err := c.Refresh(); err != nil {
			t.Errorf("refresh: %v", err)
		}
	})
}

// TestRefusedAndBack: each way to end a connection takes hold on the next
// call, and a new consent brings it back.
func TestRefusedAndBack(t *testing.T) {
	t.Parallel()
	forEachKind(t, func(t *testing.T, kind string, make setup) {
		s := newScene(t)
		c, p := s.connect(t, make, "Web Shop")
		works(t, c)
		for _, end := range []struct {
			name string
			do   func()
			undo func()
		}{
			{"user disable", func() { s.Admin("user", "disable", "--email", email) }, func() { s.Admin("user", "enable", "--email", email) }},
			{"member remove", func() { s.Admin("member", "remove", "--team", "web-shop", "--email", email) }, func() { s.SetMember("web-shop", email, "analyst") }},
			{"grant revoke", func() { s.Admin("grant", "revoke", "--id", s.Grants()[0].ID) }, func() {}},
			{"client revoke", func() { s.Admin("client", "revoke", "--id", s.Grants()[0].Client) }, func() {}},
		} {
			// Not subtests: each goes on where the one before has left.
			t.Log(end.name)
			end.do()
			refused(t, c, needsRefresh(kind))
			if t.Failed() {
				t.Fatalf("after %s", end.name)
			}
			end.undo()
			*p = s.consents("Web Shop")
			if err := c.Connect(); err != nil {
				t.Fatalf("connect again after %s: %v", end.name, err)
			}
			*p = nil
			works(t, c)
			c.Exchanges()
		}
	})
}

// TestBlockedIntegration: a blocked product is refused and cannot come back
// until it is unblocked.
func TestBlockedIntegration(t *testing.T) {
	t.Parallel()
	forEachKind(t, func(t *testing.T, _ string, make setup) {
		s := newScene(t)
		c, p := s.connect(t, make, "Web Shop")
		id := s.Grants()[0].Client
		s.Admin("client", "block", "--id", id)
		testenv.Within(t, testenv.TakesHold, "the connection is refused", func() error {
			if _, err := c.Call("whoami", nil); err == nil {
				return errors.New("the call still works")
			}
			return nil
		})
		if _, err := refusal(c.Exchanges()); err != nil {
			t.Error(err)
		}
		// Another registration of the same product has no better luck.
		s.browser.Open(s.Register(t, clientName).AuthorizationURL(s.MCPURL()))
		if s.browser.Has("Allow access") {
			t.Error("a blocked integration may ask for consent")
		}
		s.Admin("client", "unblock", "--id", id)
		*p = s.consents("Web Shop")
		testenv.Within(t, testenv.TakesHold, "unblocked", func() error { return c.Connect() })
		works(t, c)
	})
}

// TestRoleWithoutPermission: a smaller role leaves the connection alive and
// takes the tool.
func TestRoleWithoutPermission(t *testing.T) {
	t.Parallel()
	forEachKind(t, func(t *testing.T, _ string, make setup) {
		s := newScene(t)
		c, _ := s.connect(t, make, "Web Shop")
		works(t, c)
		s.Admin("role", "set", "--team", "web-shop", "--name", "metrics-only", "--permissions", "metrics:Read")
		s.SetMember("web-shop", email, "metrics-only")

		testenv.Within(t, testenv.TakesHold, "search_logs leaves the list", func() error {
			tools, err := c.Tools()
			if err != nil {
				return err
			}
			if slices.Contains(tools, "search_logs") || !slices.Contains(tools, "whoami") {
				return fmt.Errorf("tools: %q", tools)
			}
			return nil
		})
		r, err := c.Call("search_logs", map[string]any{"query": "marigold"})
		if err == nil && !r.Failed {
			t.Errorf("search_logs without the permission answers %q", r.Text)
		}
		if said := r.Text + fmt.Sprint(err); !strings.Contains(said, "logs:Read") {
			t.Errorf("the refusal does not name the permission: %s", said)
		}
		if who, err := c.Call("whoami", nil); err != nil || !strings.Contains(who.Text, "metrics-only") {
			t.Errorf("whoami: %v %s", err, who.Text)
		}

		s.SetMember("web-shop", email, "analyst")
		testenv.Within(t, testenv.TakesHold, "search_logs is back", func() error {
			tools, err := c.Tools()
			if err == nil && !slices.Contains(tools, "search_logs") {
				err = fmt.Errorf("tools: %q", tools)
			}
			return err
		})
		works(t, c)
	})
}

// TestDataScope: the rows outside a role's data scope do not exist for a
// connection, from the next call on.
func TestDataScope(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	c, _ := s.connect(t, newGoClient, "Web Shop")
	works(t, c)
	s.Admin("role", "set", "--team", "web-shop", "--name", "cart-only", "--permissions", "logs:Read", "--data-scope", "service.name = cart")
	s.SetMember("web-shop", email, "cart-only")
	testenv.Within(t, testenv.TakesHold, "the scope takes hold", func() error {
		r, err := c.Call("search_logs", map[string]any{"query": "marigold"})
		if err != nil || r.Failed {
			return fmt.Errorf("%v %s", err, r.Text)
		}
		if strings.Contains(r.Text, "card declined") || !strings.Contains(r.Text, "basket opened") {
			return fmt.Errorf("it answers %s", r.Text)
		}
		return nil
	})
}

// TestTwoTeams: two connections of one person to two teams live side by side,
// each sees its own.
func TestTwoTeams(t *testing.T) {
	t.Parallel()
	forEachKind(t, func(t *testing.T, kind string, make setup) {
		s := newScene(t)
		shop, _ := s.connect(t, make, "Web Shop")
		pay, _ := s.connect(t, make, "Payments")
		works(t, shop)
		testenv.Within(t, testenv.ShortWait, "the other team's line", func() error {
			r, err := pay.Call("search_logs", map[string]any{"query": "foxglove"})
			if err == nil && !strings.Contains(r.Text, "balance late foxglove") {
				err = fmt.Errorf("it answers %s", r.Text)
			}
			return err
		})
		if r, err := pay.Call("search_logs", map[string]any{"query": "marigold"}); err != nil || strings.Contains(r.Text, "card declined") {
			t.Errorf("one team's connection shows the other's lines: %v %s", err, r.Text)
		}
		grants := s.Grants("--team", "payments")
		if len(grants) != 1 {
			t.Fatalf("grants: %+v", grants)
		}
		pay.Exchanges()
		s.Admin("grant", "revoke", "--id", grants[0].ID)
		refused(t, pay, needsRefresh(kind))
		works(t, shop)
	})
}

// TestCase078_TokenOfAnotherTeam: a token is good for the resource it was
// made for and for no other.
func TestCase078_TokenOfAnotherTeam(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.Register(t, "A").SignIn(t, s.browser, s.MCPURL("web-shop"), email, "")
	b := s.Register(t, "B").SignIn(t, s.browser, s.MCPURL("payments"), email, "")
	bare := s.Register(t, "C").SignIn(t, s.browser, s.MCPURL(), email, "Payments")
	for _, c := range []struct {
		name, at, token string
		want            int
	}{
		{"web-shop at its own", s.MCPURL("web-shop"), a.AccessToken, http.StatusOK},
		{"payments at its own", s.MCPURL("payments"), b.AccessToken, http.StatusOK},
		{"bare at the bare", s.MCPURL(), bare.AccessToken, http.StatusOK},
		{"web-shop at payments", s.MCPURL("payments"), a.AccessToken, http.StatusUnauthorized},
		{"payments at web-shop", s.MCPURL("web-shop"), b.AccessToken, http.StatusUnauthorized},
		{"web-shop at the bare", s.MCPURL(), a.AccessToken, http.StatusUnauthorized},
		{"bare at another team", s.MCPURL("web-shop"), bare.AccessToken, http.StatusUnauthorized},
		{"bare at its team's", s.MCPURL("payments"), bare.AccessToken, http.StatusUnauthorized},
		{"team that is not there", s.MCPURL("nowhere"), a.AccessToken, http.StatusUnauthorized},
	} {
		status, challenge := testenv.PostMCP(t, c.at, c.token)
		if status != c.want {
			t.Errorf("%s: %d, want %d (%s)", c.name, status, c.want, challenge)
		}
		if status == http.StatusUnauthorized && !strings.Contains(challenge, `error="invalid_token"`) {
			t.Errorf("%s: challenge %q", c.name, challenge)
		}
	}
}

// TestEngineKilled: without the engine people sign in and tokens work, and
// search_logs says that it is temporarily unavailable until it is back.
func TestEngineKilled(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	c, _ := s.connect(t, newGoClient, "Web Shop")
	works(t, c)
	before, err := s.EnginePID()
	if err != nil {
		t.Fatal(err)
	}
	// It is restarted at once, so calls go on until one meets the gap.
	met := false
	for attempt := 0; attempt < 5 && !met; attempt++ {
		s.KillEngine()
		r, err := c.Call("search_logs", map[string]any{"query": "marigold"})
		if err != nil {
			t.Fatalf("search_logs fails otherwise without the engine: %v", err)
		}
		if r.Failed {
			met = true
			if !strings.Contains(strings.ToLower(r.Text), "temporarily unavailable") {
				t.Errorf("search_logs without the engine: %s", r.Text)
			}
			if who, err := c.Call("whoami", nil); err != nil || who.Failed {
				t.Errorf("whoami without the engine: %v %s", err, who.Text)
			}
			if err := c.Refresh(); err != nil {
				t.Errorf("refresh without the engine: %v", err)
			}
		}
		s.Ready(testenv.EngineRestart)
	}
	if !met {
		t.Error("search_logs never met the gap: is another process the engine?")
	}
	// What the engine may not have written is delivered again, so a record may
	// be there twice; test/crash holds that none is lost.
	s.SendLogs(s.keys["web-shop"], testenv.LogRecord{Time: time.Now(), Service: "cart", Severity: "INFO", Body: "lit again"})
	testenv.Within(t, testenv.ShortWait, "search_logs finds a new line", func() error {
		r, err := c.Call("search_logs", map[string]any{"query": `"lit again"`})
		if err == nil && !strings.Contains(r.Text, "matched 1 ") && !strings.Contains(r.Text, "matched 2 ") {
			err = fmt.Errorf("it answers %s", r.Text)
		}
		return err
	})
	if after, err := s.EnginePID(); err != nil || after == before {
		t.Errorf("engine %d after %d: %v", after, before, err)
	}
}

// TestFromTheLinkToLogLines is the way of somebody who has only what the first
// start prints: account, team, the address from the page, a client, and real
// log lines, which are Oriel's own.
func TestFromTheLinkToLogLines(t *testing.T) {
	t.Parallel()
	o := testenv.StartOriel(t)
	b := testenv.NewBrowser(t)
	b.Open(o.OwnerLink())
	b.Fill("Name", name)
	b.Fill("Email", email)
	b.Fill("Password", testenv.Password)
	b.Fill("Team name", "Web Shop")
	b.Press("Create account")
	b.ExpectText(o.MCPURL())

	p := person(func(url string) { b.Consent(url, email, "Web Shop") })
	c := newTSClient(t, o.MCPURL(), &p)
	if err := c.Connect(); err != nil {
		t.Fatal(err)
	}
	testenv.Within(t, testenv.OwnLogs, "search_logs finds Oriel's own log", func() error {
		r, err := c.Call("search_logs", map[string]any{"query": "request"})
		if err == nil && (r.Failed || !strings.Contains(r.Text, "/oauth/")) {
			err = fmt.Errorf("it answers %s", r.Text)
		}
		return err
	})
}

// TestImport: a log file that is brought in from the shell, beside the running
// server, is there for a client, to the line.
func TestImport(t *testing.T) {
	t.Parallel()
	const lines, every = 2000, 7
	var log strings.Builder
	first := time.Date(2019, time.December, 10, 6, 55, 46, 0, time.UTC)
	failed := 0
	for i := range lines {
		text := "Received disconnect from 192.0.2.9: 11: Bye Bye [preauth]"
		if i%every == 0 {
			text = "Failed password for root from 192.0.2.9 port 40022 ssh2"
			failed++
		}
		fmt.Fprintf(&log, "%s LabSZ sshd[%d]: %s\n", first.Add(time.Duration(i)*time.Second).Format(time.Stamp), 24000+i, text)
	}
	file := filepath.Join(t.TempDir(), "sshd.log")
	if err := os.WriteFile(file, []byte(log.String()), 0o600); err != nil {
		t.Fatal(err)
	}

	s := newScene(t)
	c, _ := s.connect(t, newGoClient, "Web Shop")
	type summary struct {
		Total struct {
			Records int `json:"records"`
			Stored  int `json:"stored"`
			TooOld  int `json:"too_old"`
			Times   struct{ First, Last time.Time }
		} `json:"total"`
	}
	sum := testenv.AdminJSON[summary](s.Oriel, "import", "--team", "web-shop", "--shift-to-now", file).Total
	if sum.Records != lines || sum.Stored != lines || sum.TooOld != 0 {
		t.Errorf("import --shift-to-now: %+v", sum)
	}
	if span := sum.Times.Last.Sub(sum.Times.First); span != (lines-1)*time.Second {
		t.Errorf("the records span %s, want their own %s", span, (lines-1)*time.Second)
	}
	if age := time.Since(sum.Times.Last); age > time.Minute || age < 0 {
		t.Errorf("the last record is %s old, want now", age)
	}
	testenv.Within(t, testenv.ShortWait, "search_logs finds every line", func() error {
		for query, want := range map[string]int{`"Failed password"`: failed, `"Bye Bye"`: lines - failed} {
			r, err := c.Call("search_logs", map[string]any{"query": query, "service": "sshd", "limit": 5})
			if err != nil || !strings.Contains(r.Text, fmt.Sprintf("matched %d ", want)) {
				return fmt.Errorf("%s: want %d: %v %s", query, want, err, r.Text)
			}
		}
		return nil
	})
}
