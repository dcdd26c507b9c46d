package victoria

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/orielhq/oriel/internal/telemetry"
)

func attrs(kv ...string) []telemetry.Field {
	var f []telemetry.Field
	for i := 0; i < len(kv); i += 2 {
		f = append(f, telemetry.Field{Name: kv[i], Value: kv[i+1]})
	}
	return f
}

func sorted(fields []telemetry.Field) []telemetry.Field {
	fields = slices.Clone(fields)
	slices.SortFunc(fields, func(a, b telemetry.Field) int { return strings.Compare(a.Name, b.Name) })
	return fields
}

func TestRoundTrip(t *testing.T) {
	now := time.Now().Truncate(0).UTC()
	tests := []struct {
		name   string
		record telemetry.LogRecord
		want   []telemetry.Field
	}{
		{
			"everything",
			telemetry.LogRecord{
				Resource:   attrs("service.name", "checkout", "host.name", "h1"),
				Attributes: attrs("http.route", "/pay/{id}", "empty", ""),
				Severity:   telemetry.SeverityError, Message: "card \"declined\"\nsecond line \u00e9\u2603",
				TraceID: "0af7651916cd43dd8448eb211c80319c", SpanID: "b7ad6b7169203331",
			},
			attrs("_msg", "card \"declined\"\nsecond line \u00e9\u2603", "host.name", "h1", "http.route", "/pay/{id}",
				"service.name", "checkout", "severity", "ERROR", "span_id", "b7ad6b7169203331",
				"trace_id", "0af7651916cd43dd8448eb211c80319c"),
		},
		{"no message", telemetry.LogRecord{Attributes: attrs("a", "b")}, attrs("a", "b")},
		{"nothing", telemetry.LogRecord{}, nil},
		{"a dash", telemetry.LogRecord{Message: "-"}, attrs("_msg", "-")},
		{
			"forged names",
			telemetry.LogRecord{
				Resource: attrs("service.name", "cart", "service.name", "again", "severity", "x", "resource_attr:service.name", "y", "_stream", "z"),
				Attributes: attrs("service.name", "other", "resource_attr:service.name", "forged", "_msg", "m", "_time", "2001-01-01T00:00:00Z",
					"", "empty name", "trace_id", "t", "a", "1", "a", "2", "attr:a", "3"),
				Message: "mine",
			},
			attrs("_msg", "mine", "a", "1", "attr:", "empty name", "attr:_msg", "m", "attr:_stream", "z", "attr:_time", "2001-01-01T00:00:00Z",
				"attr:a", "2", "attr:attr:a", "3", "attr:attr:resource_attr:service.name", "forged",
				"attr:resource_attr:service.name", "y", "attr:service.name", "other", "attr:severity", "x", "attr:trace_id", "t", "service.name", "cart"),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, tenant := engine(t)
			tt.record.Time = now
			write(t, c, tenant, tt.record)
			r, err := c.QueryLogs(t.Context(), whole(tenant), lastHour(""), telemetry.Budget{})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Rows) != 1 || !r.Rows[0].Time.Equal(now) || r.More {
				t.Fatalf("result %+v, want one row at %v", r, now)
			}
			if diff := cmp.Diff(tt.want, sorted(r.Rows[0].Fields), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWriteRejects(t *testing.T) {
	c, tenant := engine(t)
	now := time.Now()
	many := make([]telemetry.Field, maxRowFields+1)
	for i := range many {
		many[i] = telemetry.Field{Name: fmt.Sprint("f", i), Value: "v"}
	}
	batch := []telemetry.LogRecord{
		{Time: now, Message: "first"},
		{Message: "no time"},
		{Time: now.Add(-c.retention - time.Hour), Message: "old"},
		{Time: now.Add(FutureRetention + time.Hour), Message: "future"},
		{Time: now, Attributes: many},
		{Time: now, Attributes: attrs(strings.Repeat("n", maxFieldNameBytes+1), "v")},
		{Time: now, Resource: attrs(strings.Repeat("n", maxFieldNameBytes), "v")},
		{Time: now, Message: strings.Repeat("m", maxRowBytes)},
		{Time: now, Message: "last", Attributes: attrs(strings.Repeat("n", maxFieldNameBytes), "v")},
		{Time: now, Message: "large " + strings.Repeat("m", maxRowBytes-1000)},
		{Time: now.Add(-c.retention + time.Hour), Message: "old enough"},
	}
	err := c.WriteLogs(t.Context(), tenant, batch)
	rejected, ok := errors.AsType[*telemetry.RejectedError](err)
	if !ok {
		t.Fatalf("WriteLogs = %v", err)
	}
	var got []int
	for _, r := range rejected.Records {
		got = append(got, r.Index)
		if r.Reason == "" {
			t.Errorf("record %d has no reason", r.Index)
		}
	}
	if diff := cmp.Diff([]int{1, 2, 3, 4, 5, 6, 7}, got); diff != "" {
		t.Error(diff)
	}
	flush(t, c)
	q := lastHour("* | stats count() as n")
	q.Start = now.Add(-2 * c.retention)
	r, err := c.QueryLogs(t.Context(), whole(tenant), q, telemetry.Budget{})
	if err != nil || len(r.Rows) != 1 || r.Rows[0].Get("n") != "4" {
		t.Fatalf("stored %+v, %v; want 4 rows", r, err)
	}
	if err := c.WriteLogs(t.Context(), 0, batch[:1]); err == nil {
		t.Error("tenant 0 was written to")
	}
}

// TestManyFieldNames holds that a sender whose every record has names of its
// own loses none: the engine drops rows of blocks with too many.
func TestManyFieldNames(t *testing.T) {
	c, tenant := engine(t)
	var batch []telemetry.LogRecord
	for i := range 100 {
		r := telemetry.LogRecord{Time: time.Now(), Message: "m", Resource: attrs("service.name", "s")}
		for j := range 90 {
			r.Attributes = append(r.Attributes, telemetry.Field{Name: fmt.Sprintf("f%d.%d", i, j), Value: "v"})
		}
		batch = append(batch, r)
	}
	write(t, c, tenant, batch...)
	q := lastHour("")
	q.CountTotal, q.Limit = true, 5
	r, err := c.QueryLogs(t.Context(), whole(tenant), q, telemetry.Budget{})
	if err != nil || r.Total != 100 {
		t.Fatalf("%d of 100 rows, %v", r.Total, err)
	}
}

func TestOrderLimitTotal(t *testing.T) {
	c, tenant := engine(t)
	start := time.Now().Add(-30 * time.Minute)
	var batch []telemetry.LogRecord
	for i := range 500 {
		batch = append(batch, telemetry.LogRecord{
			Time: start.Add(time.Duration((i*7)%500) * time.Second), Message: fmt.Sprintf("n%03d", (i*7)%500),
			Resource: attrs("service.name", fmt.Sprint("s", i%3)),
		})
	}
	write(t, c, tenant, batch...)
	tests := []struct {
		name        string
		q           telemetry.LogQuery
		b           telemetry.Budget
		first, last string
		rows        int
		more        bool
		total       int64
	}{
		{"limit", telemetry.LogQuery{Limit: 10, CountTotal: true}, telemetry.Budget{}, "n499", "n490", 10, true, 500},
		{"budget", telemetry.LogQuery{Limit: 100}, telemetry.Budget{Rows: 20}, "n499", "n480", 20, true, -1},
		{"all", telemetry.LogQuery{CountTotal: true}, telemetry.Budget{}, "n499", "n000", 500, false, 500},
		{"exactly", telemetry.LogQuery{Limit: 500, CountTotal: true}, telemetry.Budget{}, "n499", "n000", 500, false, 500},
		{"search", telemetry.LogQuery{Text: "n123", CountTotal: true}, telemetry.Budget{}, "n123", "n123", 1, false, 1},
		{"own order", telemetry.LogQuery{Text: "* | sort by (_time)", Limit: 3, CountTotal: true}, telemetry.Budget{}, "n000", "n002", 3, true, -1},
		{"end is exclusive", telemetry.LogQuery{Start: start, End: start.Add(10 * time.Second)}, telemetry.Budget{}, "n009", "n000", 10, false, -1},
		{"bytes", telemetry.LogQuery{Text: "* | fields _time, _msg"}, telemetry.Budget{Bytes: 80}, "n499", "n490", 10, true, -1},
		{"a tiny budget", telemetry.LogQuery{}, telemetry.Budget{Bytes: 1}, "", "", 0, true, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.q.Start.IsZero() {
				tt.q.Start, tt.q.End = time.Now().Add(-time.Hour), time.Now()
			}
			r, err := c.QueryLogs(t.Context(), whole(tenant), tt.q, tt.b)
			if err != nil {
				t.Fatal(err)
			}
			m := messages(r)
			if len(m) != tt.rows || r.More != tt.more || r.Total != tt.total {
				t.Fatalf("%d rows, more %v, total %d; want %d, %v, %d", len(m), r.More, r.Total, tt.rows, tt.more, tt.total)
			}
			if tt.rows > 0 && (m[0] != tt.first || m[len(m)-1] != tt.last) {
				t.Errorf("rows %s … %s, want %s … %s", m[0], m[len(m)-1], tt.first, tt.last)
			}
		})
	}
}

func TestServicesAndSeverities(t *testing.T) {
	c, tenant := engine(t)
	var batch []telemetry.LogRecord
	for _, service := range []string{"a", "b", `c" or *`} {
		for _, severity := range []string{telemetry.SeverityInfo, telemetry.SeverityError} {
			batch = append(batch, telemetry.LogRecord{
				Time: time.Now(), Message: service + " " + severity, Severity: severity, Resource: attrs("service.name", service),
			})
		}
	}
	write(t, c, tenant, batch...)
	tests := []struct {
		services, severities []string
		text                 string
		want                 int
	}{
		{nil, nil, "", 6},
		{[]string{"a"}, nil, "", 2},
		{[]string{"a", "b"}, []string{"ERROR"}, "", 2},
		{[]string{`c" or *`}, nil, "", 2},
		{[]string{`a") or *`}, nil, "", 0},
		{nil, []string{"INFO"}, "error or a", 1},
		{[]string{"a"}, nil, "* or b", 2},
		{[]string{"a"}, []string{"ERROR"}, "*) or (*", -1},
	}
	for _, tt := range tests {
		q := lastHour(tt.text)
		q.Services, q.Severities = tt.services, tt.severities
		r, err := c.QueryLogs(t.Context(), whole(tenant), q, telemetry.Budget{})
		if tt.want < 0 {
			if _, ok := errors.AsType[*telemetry.QueryError](err); !ok {
				t.Errorf("%+v: %v, %v; want a *QueryError", tt, r, err)
			}
			continue
		}
		if err != nil || len(r.Rows) != tt.want {
			t.Errorf("%+v: %d rows, %v", tt, len(r.Rows), err)
		}
	}
}

func TestZeroView(t *testing.T) {
	c, err := NewClient(ClientConfig{Socket: "/nowhere"})
	if err != nil {
		t.Fatal(err)
	}
	for _, view := range []telemetry.View{{}, telemetry.NewView(0, telemetry.Restriction{})} {
		r, err := c.QueryLogs(t.Context(), view, lastHour(""), telemetry.Budget{})
		if err != nil || len(r.Rows) != 0 {
			t.Errorf("a view of nothing: %v, %v", r, err)
		}
	}
	if _, err := c.QueryLogs(t.Context(), whole(1), lastHour(""), telemetry.Budget{}); !errors.Is(err, telemetry.ErrUnavailable) || strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a missing engine: %v", err)
	}
	if err := c.WriteLogs(t.Context(), 1, []telemetry.LogRecord{{Time: time.Now()}}); !errors.Is(err, telemetry.ErrUnavailable) {
		t.Errorf("writing to a missing engine: %v", err)
	}
}

func TestBadRange(t *testing.T) {
	c, tenant := engine(t)
	now := time.Now()
	for _, q := range []telemetry.LogQuery{{}, {End: now}, {Start: now, End: now}, {Start: now, End: now.Add(-1)}} {
		if _, err := c.QueryLogs(t.Context(), whole(tenant), q, telemetry.Budget{}); err == nil {
			t.Errorf("range %v … %v was accepted", q.Start, q.End)
		}
	}
}

func TestCancelAndTimeout(t *testing.T) {
	c, tenant := engine(t)
	var batch []telemetry.LogRecord
	for i := range 20_000 {
		batch = append(batch, telemetry.LogRecord{Time: time.Now(), Message: fmt.Sprint("row ", i, strings.Repeat(" some words", 20))})
	}
	write(t, c, tenant, batch...)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.QueryLogs(ctx, whole(tenant), lastHour(""), telemetry.Budget{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled query: %v", err)
	}
	slow := lastHour(`* | extract_regexp "(?P<a>(s|o|m|e|w|r|d| )*)x" | extract_regexp "(?P<b>(s|o|m|e|w|r|d| )*)y" | stats count_uniq(a, b)`)
	if _, err := c.QueryLogs(t.Context(), whole(tenant), slow, telemetry.Budget{Time: time.Millisecond}); !errors.Is(err, telemetry.ErrTooExpensive) {
		t.Errorf("a query out of time: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if _, err := c.QueryLogs(ctx, whole(tenant), slow, telemetry.Budget{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a query past its caller's deadline: %v", err)
	}
}

func TestLookBack(t *testing.T) {
	c, tenant := engine(t)
	now := time.Now()
	write(t, c, tenant,
		telemetry.LogRecord{Time: now.Add(-3 * time.Hour), Message: "old"},
		telemetry.LogRecord{Time: now.Add(-time.Minute), Message: "young"})
	q := lastHour("")
	q.Start = now.Add(-24 * time.Hour)
	for lookBack, want := range map[time.Duration]int{0: 2, time.Hour: 1, 30 * time.Second: 0} {
		view := telemetry.NewView(tenant, telemetry.Restriction{LookBack: lookBack})
		for _, text := range []string{"*", "_time:1d", "* | union (_time:1d) | uniq by (_msg)"} {
			q.Text = text
			r, err := c.QueryLogs(t.Context(), view, q, telemetry.Budget{})
			if err != nil || len(r.Rows) != want {
				t.Errorf("%q with look back %v: %d rows, %v; want %d", text, lookBack, len(r.Rows), err, want)
			}
		}
	}
}
