package tools

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant/granttest"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/victoria"
	"github.com/orielhq/oriel/internal/telemetry/victoria/victoriatest"
)

// The test binary is also the engine's process.
const envEngine = "ORIEL_TEST_ENGINE" // data folder and socket

func TestMain(m *testing.M) {
	if dir, socket, ok := strings.Cut(os.Getenv(envEngine), "|"); ok {
		err := victoria.RunEngine(context.Background(), victoria.EngineConfig{DataDir: dir, Socket: socket, Parent: os.Stdin, MinFreeBytes: 1 << 20, MemoryBytes: 256 << 20})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	sharedEngine.stop()
	os.Exit(code)
}

// testEngine is one engine for all tests: each has teams of its own.
type testEngine struct {
	once   sync.Once
	dir    string
	sup    *victoria.Supervisor
	socket string
	// cluster is used instead where ORIEL_TEST_LOG_ENGINE is cluster.
	cluster *victoriatest.Cluster
	err     error

	mu     sync.Mutex // guards tenant
	tenant telemetry.TenantID
}

var sharedEngine testEngine

func (e *testEngine) stop() {
	if e.cluster != nil {
		e.cluster.Stop()
	}
	if e.sup != nil {
		_ = e.sup.Stop(context.Background())
	}
	if e.dir != "" {
		_ = os.RemoveAll(e.dir)
	}
}

func (e *testEngine) start() {
	if os.Getenv("ORIEL_TEST_LOG_ENGINE") == "cluster" {
		e.cluster, e.err = victoriatest.Start()
		return
	}
	if e.dir, e.err = os.MkdirTemp("", "engine"); e.err != nil {
		return
	}
	if e.socket, e.err = victoria.SocketPath(e.dir); e.err != nil {
		return
	}
	e.sup, e.err = victoria.Supervise(victoria.SupervisorConfig{
		Command: func(ctx context.Context) *exec.Cmd {
			cmd := exec.CommandContext(ctx, os.Args[0])
			cmd.Env = append(os.Environ(), envEngine+"="+e.dir+"|"+e.socket)
			return cmd
		}, Socket: e.socket, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if e.err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		e.err = e.sup.WaitReady(ctx)
	}
}

// spanTenants is the distance between a team's logs and its spans, which a
// server keeps in two engines.
const spanTenants = 50

// A shiftedLogs maps the tenants of a test, which all start at one, to tenants
// that no other test uses.
type shiftedLogs struct {
	*victoria.Client
	by telemetry.TenantID
}

func (l shiftedLogs) QueryLogs(ctx context.Context, v telemetry.View, q telemetry.LogQuery, b telemetry.Budget) (telemetry.LogResult, error) {
	if tenant, ok := v.Tenant(); ok {
		v = telemetry.NewView(tenant+l.by, telemetry.Restriction{Filter: v.Filter(), LookBack: v.LookBack(), Hidden: v.Hidden()})
	}
	return l.Client.QueryLogs(ctx, v, q, b)
}

// QuerySpans does the same.
func (l shiftedLogs) QuerySpans(ctx context.Context, v telemetry.View, q telemetry.SpanQuery, b telemetry.Budget) (telemetry.SpanResult, error) {
	if tenant, ok := v.Tenant(); ok {
		v = telemetry.NewView(tenant+l.by+spanTenants, telemetry.Restriction{Filter: v.Filter(), LookBack: v.LookBack(), Hidden: v.Hidden()})
	}
	return l.Client.QuerySpans(ctx, v, q, b)
}

// engineBench is a bench over a real engine. Its clock stands at 09:20 of the
// next day, so that what is written lies in the engine's time.
type engineBench struct {
	*bench
	client *victoria.Client
	by     telemetry.TenantID
	day    string
}

func newEngineBench(tb testing.TB) *engineBench {
	tb.Helper()
	sharedEngine.once.Do(sharedEngine.start)
	if sharedEngine.err != nil {
		tb.Fatal(sharedEngine.err)
	}
	sharedEngine.mu.Lock()
	sharedEngine.tenant += 100
	e := &engineBench{by: sharedEngine.tenant}
	sharedEngine.mu.Unlock()
	start := time.Now().UTC().Truncate(24 * time.Hour).Add(24*time.Hour + 9*time.Hour + 20*time.Minute)
	e.day = start.Format(time.DateOnly)
	var now func() time.Time
	e.bench = newBench(tb, func(c *Config) {
		var err error
		now = c.Now
		where := victoria.ClientConfig{Socket: sharedEngine.socket, Retention: victoria.DefaultRetention, Now: now}
		if c := sharedEngine.cluster; c != nil {
			where.Socket, where.URL, where.WriteURL = "", c.Select.URL, c.Insert.URL
		}
		e.client, err = victoria.NewClient(where)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(e.client.Close)
		c.Logs = shiftedLogs{e.client, e.by}
		c.Spans = shiftedLogs{e.client, e.by}
	})
	e.Advance(start.Sub(granttest.Start))
	return e
}

// flush makes searchable what was written.
func (e *engineBench) flush() {
	e.TB.Helper()
	if c := sharedEngine.cluster; c != nil {
		e.Must(c.Flush(e.TB.Context()))
		return
	}
	e.Must(e.client.Flush(e.TB.Context()))
}

// write stores records of a team and makes them searchable.
func (e *engineBench) write(team org.Team, records ...telemetry.LogRecord) {
	e.TB.Helper()
	e.Must(e.client.WriteLogs(e.TB.Context(), team.Tenant+e.by, records))
	e.flush()
}

// writeSpans does the same for spans.
func (e *engineBench) writeSpans(team org.Team, records ...telemetry.SpanRecord) {
	e.TB.Helper()
	e.Must(e.client.WriteSpans(e.TB.Context(), team.Tenant+e.by+spanTenants, records))
	e.flush()
}

// scoped gives Ada a role with a data scope and returns her as a caller.
func (e *engineBench) scoped(filter string) *access.Caller {
	e.TB.Helper()
	_, err := e.Directory.SetRole(e.TB.Context(), "shop", "scoped", []org.Permission{org.LogsRead}, filter, audit.System())
	e.Must(err)
	e.SetRoles("scoped")
	return e.caller("logs:read")
}

func (e *engineBench) golden(t *testing.T, name string, res Result) {
	t.Helper()
	if res.IsError {
		t.Errorf("%s: %s", name, res.Text)
	}
	e.goldenText(t, name, res.Text)
}

// goldenText compares a text with a golden file, with the test's day as
// 2026-11-23 and the day before as 2026-11-22.
func (e *engineBench) goldenText(t *testing.T, name, text string) {
	t.Helper()
	day, err := time.Parse(time.DateOnly, e.day)
	e.Must(err)
	text = strings.ReplaceAll(text, day.Add(-24*time.Hour).Format(time.DateOnly), "DAY BEFORE")
	text = strings.ReplaceAll(text, e.day, "2026-11-23")
	text = strings.ReplaceAll(text, "DAY BEFORE", "2026-11-22")
	// Which of many values is the example is the engine's choice.
	text = exampleValue.ReplaceAllString(text, "e.g. EXAMPLE")
	golden(t, name, text)
}

var exampleValue = regexp.MustCompile(`e\.g\. [^\n]*`)

func kv(pairs ...string) []telemetry.Field {
	var f []telemetry.Field
	for i := 0; i < len(pairs); i += 2 {
		f = append(f, telemetry.Field{Name: pairs[i], Value: pairs[i+1]})
	}
	return f
}

// writeShop writes an hour of a shop, and a bad last quarter: payments refuses
// cards of one region since 09:05.
func (e *engineBench) writeShop() {
	e.TB.Helper()
	now := e.Now()
	var all []telemetry.LogRecord
	add := func(ago time.Duration, service, severity, message string, attributes ...string) {
		n := len(all)
		all = append(all, telemetry.LogRecord{
			Time: now.Add(-ago).Add(time.Duration(n) * time.Microsecond), Severity: severity, Message: message,
			Resource:   kv("service.name", service, "host.name", fmt.Sprintf("%s-%d", service, n%2), "deployment.environment.name", "prod"),
			Attributes: kv(attributes...), TraceID: fmt.Sprintf("%032x", n/3),
		})
	}
	regions := []string{"eu", "us", "ap"}
	for m := range 120 {
		ago := time.Duration(120-m) * time.Minute
		region := regions[m%3]
		add(ago, "checkout", "INFO", fmt.Sprintf("order %d placed by user %s in %d ms", 1000+m, []string{"ann", "bob", "cyd"}[m%3], 20+m%7), "region", region, "http.route", "/orders")
		add(ago, "cart", "INFO", fmt.Sprintf("GET /cart/%d 200 in %d ms", m*7, 3+m%5), "region", region, "http.route", "/cart/{id}", "http.response.status_code", "200", "took", fmt.Sprint(3+m%5))
		add(ago, "payments", "INFO", fmt.Sprintf("charged card of order %d", 1000+m), "region", region, "psp", "acme")
		if m%30 == 7 {
			add(ago, "cart", "WARN", fmt.Sprintf("slow query took %d ms", 900+m), "region", region)
			add(ago, "cart", "ERROR", fmt.Sprintf("cannot reach cache 10.0.0.%d:6379: timeout after %d ms", 1+m%3, 500+m), "region", region, "error.type", "timeout")
		}
		if m >= 105 {
			add(ago, "payments", "ERROR", fmt.Sprintf("card of order %d refused: certificate of psp expired", 1000+m), "region", "eu", "psp", "acme", "error.type", "tls")
			if m%5 == 0 {
				add(ago, "checkout", "FATAL", fmt.Sprintf("order %d lost", 1000+m), "region", "eu", "error.type", "lost")
			}
		}
	}
	e.write(e.Shop, all...)
}
