package tools

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

// firstPage returns a cursor of the caller's for search_logs with limit=3.
func firstPage(b *bench, c *access.Caller) string {
	b.TB.Helper()
	next := nextCursor.FindStringSubmatch(b.call(c, "search_logs", `{"limit":3}`).Text)
	if next == nil {
		b.TB.Fatal("the first page has no cursor")
	}
	return next[1]
}

func TestCursorsAreBound(t *testing.T) {
	b := newBench(t)
	b.logs.rows = manyRows(20)
	c := b.caller("logs:read")
	cursor := firstPage(b, c)
	goOn := func(c *access.Caller, args string) Result {
		t.Helper()
		return b.call(c, "search_logs", strings.Replace(args, "CURSOR", cursor, 1))
	}
	good := []string{`{"limit":3,"cursor":"CURSOR"}`, `{"limit":3,"cursor":"CURSOR","max_tokens":300}`, `{"limit":3,"cursor":"CURSOR","query":null,"service":""}`}
	for _, args := range good {
		if res := goOn(c, args); res.IsError || !strings.Contains(res.Text, "request 3 done") || strings.Contains(res.Text, "request 2 done") {
			t.Errorf("%s: %+v", args, res)
		}
	}
	for _, args := range []string{
		`{"cursor":"CURSOR"}`, `{"limit":4,"cursor":"CURSOR"}`, `{"limit":3,"query":"x","cursor":"CURSOR"}`, `{"limit":3,"start":"now-2h","cursor":"CURSOR"}`,
	} {
		if res := goOn(c, args); !res.IsError || !strings.Contains(res.Text, "The cursor is not for this call") {
			t.Errorf("another question %s: %+v", args, res)
		}
	}
	// The same person through another connection.
	if res := goOn(b.caller("logs:read"), good[0]); !res.IsError {
		t.Errorf("another grant: %+v", res)
	}
	// Every bit of it counts.
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	b.Must(err)
	for i := range raw {
		forged := slices.Clone(raw)
		forged[i] ^= 1
		args, err := json.Marshal(map[string]any{"limit": 3, "cursor": base64.RawURLEncoding.EncodeToString(forged)})
		b.Must(err)
		if res := b.call(c, "search_logs", string(args)); !res.IsError {
			t.Errorf("byte %d changed: %+v", i, res)
		}
	}
	for _, junk := range []string{"x", "AAAA", strings.Repeat("A", 3000), `é`} {
		if res := b.call(c, "search_logs", `{"limit":3,"cursor":"`+junk+`"}`); !res.IsError {
			t.Errorf("%.20q: %+v", junk, res)
		}
	}
	// The hour ends: the old caller's own clock says so.
	b.Advance(c.Expires().Sub(b.Now()))
	if res := goOn(c, good[0]); !res.IsError {
		t.Errorf("after the hour: %+v", res)
	}
}

func TestCursorsEndWithTheDataScope(t *testing.T) {
	b := newBench(t)
	b.logs.rows = manyRows(20)
	setRole := func(filter string) *access.Caller {
		_, err := b.Directory.SetRole(t.Context(), "shop", "scoped", []org.Permission{org.LogsRead}, filter, audit.System())
		b.Must(err)
		b.SetRoles("scoped")
		return b.caller("logs:read")
	}
	before := setRole("service.name = checkout")
	cursor := firstPage(b, before)
	tool, _ := b.set.Lookup("search_logs")
	after := setRole("service.name = cart")
	for _, c := range []*access.Caller{after} {
		res, err := tool.Call(t.Context(), c, json.RawMessage(`{"limit":3,"cursor":"`+cursor+`"}`))
		if err != nil || !res.IsError {
			t.Errorf("another scope: %+v %v", res, err)
		}
	}
}

func TestNearest(t *testing.T) {
	have := []string{"checkout", "cart", "payments", "checkout-worker", "http.response.status_code", "service.name", "oriel"}
	for want, first := range map[string]string{
		"chekout": "checkout", "Checkout": "checkout", "chekcout": "checkout", "crat": "cart", "payment": "payments", "status_code": "http.response.status_code",
		"service_name": "service.name", "http.status_code": "http.response.status_code",
	} {
		if got := nearest(want, have); len(got) == 0 || got[0] != first {
			t.Errorf("%s: %v, want %s first", want, got, first)
		}
	}
	for _, want := range []string{"", "zzz", "inventory"} {
		if got := nearest(want, have); len(got) != 0 {
			t.Errorf("%s: %v", want, got)
		}
	}
}

func TestQueryFields(t *testing.T) {
	for query, want := range map[string]string{
		"":                                  "",
		"plain words":                       "",
		`severity:ERROR http.route:="/a:b"`: "severity http.route",
		`a:b:c !x-y:>=5 (q:in(a,b))`:        "a x-y q",
		`"quoted name":=1 "just: text"`:     "quoted name",
		"`back`:~\"a:b\"":                   "back",
		`"open`:                             "",
		`time 10:20 _time:5m`:               "10 _time",
		`a:1 b:1 c:1 d:1 e:1 f:1`:           "a b c d e",
		`é.name:1`:                          "é.name",
		`x:"y" | stats by (z) count() if (q:1) n`: "x q",
	} {
		if got := strings.Join(queryFields(query), " "); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}

// slowLogs answers when it is let.
type slowLogs struct {
	enter chan struct{}
	leave chan struct{}
}

func (l slowLogs) QueryLogs(ctx context.Context, _ telemetry.View, _ telemetry.LogQuery, _ telemetry.Budget) (telemetry.LogResult, error) {
	l.enter <- struct{}{}
	select {
	case <-l.leave:
		return telemetry.LogResult{Total: -1, Rows: []telemetry.LogRow{row(time.Time{}, "a", "b")}}, nil
	case <-ctx.Done():
		return telemetry.LogResult{}, ctx.Err()
	}
}

func TestOnePersonTakesTurns(t *testing.T) {
	slow := slowLogs{make(chan struct{}), make(chan struct{})}
	b := newBench(t, func(c *Config) { c.Logs = slow; c.Limits = Limits{Concurrent: 2} })
	c := b.caller("logs:read")
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if res := b.call(c, "search_logs", `{"query":"* | stats count() n"}`); res.IsError {
				t.Error(res.Text)
			}
		})
	}
	<-slow.enter
	<-slow.enter
	select {
	case <-slow.enter:
		t.Error("three queries of one person run at once")
	default:
	}
	slow.leave <- struct{}{}
	<-slow.enter // the third had waited
	slow.leave <- struct{}{}
	slow.leave <- struct{}{}
	wg.Wait()
	b.set.limiter.mu.Lock()
	defer b.set.limiter.mu.Unlock()
	if a := b.set.limiter.accounts[b.Ada.ID]; a.users != 0 || len(a.turns) != 0 {
		t.Errorf("%d users and %d turns are left", a.users, len(a.turns))
	}
}

func TestQueriesThatWaitTooLongAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(Limits{Concurrent: 1}, time.Now)
		end, err := l.begin(t.Context(), "ada")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.begin(t.Context(), "ada"); err == nil || !strings.Contains(err.Error(), "1 of your queries are running already") {
			t.Errorf("waited for a turn: %v", err)
		}
		if _, err := l.begin(t.Context(), "bob"); err != nil {
			t.Errorf("another person: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.begin(ctx, "ada"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a cancelled wait: %v", err)
		}
		end()
		if end, err = l.begin(t.Context(), "ada"); err != nil {
			t.Fatal(err)
		}
		end()
	})
}

func TestQuerySecondsRunOutAndComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(Limits{Seconds: 60}, time.Now)
		spend := func(d time.Duration) error {
			end, err := l.begin(t.Context(), "ada")
			if err != nil {
				return err
			}
			time.Sleep(d)
			end()
			return nil
		}
		for range 4 {
			if err := spend(20 * time.Second); err != nil {
				t.Fatal(err) // ten of them come back meanwhile
			}
		}
		if err := spend(31 * time.Second); err != nil {
			t.Fatal(err)
		}
		err := spend(0)
		if _, ok := errors.AsType[problem](err); !ok || !strings.Contains(err.Error(), "used up their share of the engine's time. Wait 13s") {
			t.Fatalf("after 111 s of queries: %v", err)
		}
		if end, err := l.begin(t.Context(), "bob"); err != nil {
			t.Errorf("another person: %v", err)
		} else {
			end()
		}
		time.Sleep(13 * time.Second)
		if err := spend(0); err != nil {
			t.Errorf("after the wait: %v", err)
		}
	})
}

func TestAccountsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(Limits{}, time.Now)
		for i := range 3 * maxAccounts {
			end, err := l.begin(t.Context(), org.PersonID(fmt.Sprint(i)))
			if err != nil {
				t.Fatal(err)
			}
			end()
		}
		if len(l.accounts) > maxAccounts {
			t.Errorf("%d accounts are kept", len(l.accounts))
		}
	})
}

func TestProgressOfLongQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &call{set: &Set{Config: Config{Now: time.Now}, limiter: newLimiter(Limits{}, time.Now)}, caller: nil}
		var last float64 = -1
		var messages []string
		c.progress = func(done float64, message string) {
			if done <= last {
				t.Errorf("progress went from %g to %g", last, done)
			}
			last = done
			messages = append(messages, message)
		}
		for _, lasts := range []time.Duration{3500 * time.Millisecond, 0} {
			c.queries++
			stop := c.reportWhile("searching", 20*time.Second)
			time.Sleep(lasts)
			stop()
		}
		want := []string{"searching", "searching, 1s of at most 20s", "searching, 2s of at most 20s", "searching, 3s of at most 20s", "searching"}
		if !slices.Equal(messages, want) {
			t.Errorf("%q", messages)
		}
	})
}
