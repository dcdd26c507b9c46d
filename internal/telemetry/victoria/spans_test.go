package victoria

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/orielhq/oriel/internal/telemetry"
)

func writeSpans(t *testing.T, c *Client, tenant telemetry.TenantID, batch ...telemetry.SpanRecord) {
	t.Helper()
	if err := c.WriteSpans(t.Context(), tenant, batch); err != nil {
		t.Fatal(err)
	}
	flush(t, c)
}

func spansOf(text string) telemetry.SpanQuery {
	q := lastHour(text)
	return telemetry.SpanQuery{Text: q.Text, Start: q.Start, End: q.End}
}

func TestSpanRoundTrip(t *testing.T) {
	c, tenant := engine(t)
	end := time.Now().Truncate(0).UTC()
	start := end.Add(-1500 * time.Microsecond)
	writeSpans(t, c, tenant, telemetry.SpanRecord{
		TraceID: "0af7651916cd43dd8448eb211c80319c", SpanID: "b7ad6b7169203331", ParentSpanID: "00f067aa0ba902b7",
		Name: "POST /pay", Kind: telemetry.KindServer, Start: start, End: end,
		Resource:  attrs("service.name", "checkout", "service.name", "again"),
		ScopeName: "net/http", Scope: attrs("k", "v"),
		// Attributes cannot leave their own namespace.
		Attributes: attrs("http.route", "/pay", "resource_attr:service.name", "forged", "empty", ""),
		Status:     telemetry.StatusError, StatusMessage: "declined",
		Events: []telemetry.SpanEvent{{Time: start, Name: "exception", Attributes: attrs("exception.type", "Declined")}},
		Links:  []telemetry.SpanLink{{TraceID: "1", SpanID: "2", Attributes: attrs("why", "retry")}},
	})
	r, err := c.QuerySpans(t.Context(), whole(tenant), spansOf(`"resource_attr:service.name":=checkout duration:>1000000`), telemetry.Budget{})
	if err != nil || len(r.Rows) != 1 || !r.Rows[0].Time.Equal(end) {
		t.Fatalf("%+v, %v", r, err)
	}
	want := attrs(
		"duration", "1500000", "end_time_unix_nano", nanos(end), "event:event_attr:exception.type:0", "Declined",
		"event:event_name:0", "exception", "event:event_time_unix_nano:0", nanos(start), "kind", "2",
		"link:link_attr:why:0", "retry", "link:link_span_id:0", "2", "link:link_trace_id:0", "1",
		"name", "POST /pay", "parent_span_id", "00f067aa0ba902b7", "resource_attr:service.name", "checkout",
		"scope_attr:k", "v", "scope_name", "net/http", "span_attr:http.route", "/pay",
		"span_attr:resource_attr:service.name", "forged", "span_id", "b7ad6b7169203331", "start_time_unix_nano", nanos(start),
		"status_code", "2", "status_message", "declined", "trace_id", "0af7651916cd43dd8448eb211c80319c")
	if diff := cmp.Diff(want, sorted(r.Rows[0].Fields)); diff != "" {
		t.Error(diff)
	}
}

func TestSpanRejects(t *testing.T) {
	c, tenant := engine(t)
	now := time.Now()
	good := telemetry.SpanRecord{TraceID: "1", SpanID: "2", Start: now, End: now}
	noID, noStart, old := good, good, good
	noID.SpanID = ""
	noStart.Start = time.Time{}
	old.End = now.Add(-c.retention - time.Hour)
	err := c.WriteSpans(t.Context(), tenant, []telemetry.SpanRecord{good, noID, noStart, old})
	rejected, ok := errors.AsType[*telemetry.RejectedError](err)
	if !ok || len(rejected.Records) != 3 || rejected.Records[0].Index != 1 {
		t.Fatalf("WriteSpans: %v", err)
	}
}

func TestNoForeignSpan(t *testing.T) {
	c, tenant := engine(t)
	_, other := engine(t)
	now := time.Now()
	span := func(mark, service string, i int) telemetry.SpanRecord {
		end := now.Add(-time.Minute).Add(time.Duration(i) * time.Millisecond)
		return telemetry.SpanRecord{
			TraceID: fmt.Sprintf("%032x", i), SpanID: fmt.Sprintf("%016x", i), Name: "GET /" + mark, Start: end, End: end,
			Resource:   attrs("service.name", service, "res."+mark, mark),
			Attributes: attrs("mark", mark, "name."+mark, mark, "service.name", "checkout", "resource_attr:service.name", "checkout"),
			Events:     []telemetry.SpanEvent{{Time: end, Name: mark, Attributes: attrs("mark", mark)}},
		}
	}
	var mine, theirs []telemetry.SpanRecord
	for i := range 20 {
		mine = append(mine, span(markMine, "checkout", i), span(markScope, "cart", i))
		theirs = append(theirs, span(markOther, "checkout", i))
	}
	writeSpans(t, c, tenant, mine...)
	writeSpans(t, c, other, theirs...)
	filter, err := telemetry.ParseFilter(`service.name = checkout`)
	if err != nil {
		t.Fatal(err)
	}
	scoped := telemetry.NewView(tenant, telemetry.Restriction{Filter: filter})
	ran := 0
	queries := slices.Concat(attacks, []string{
		`trace_id:*`, `"span_attr:mark":*`, `* | stats by (name) count() hits`, `* | uniq by (name)`, `"event:event_name:0":mark*`,
		`* | stats by (_stream) count() hits`, `* | join by (trace_id) (name:~"mark.*" | limit 100) prefix x`,
	})
	for _, text := range queries {
		r, err := c.QuerySpans(t.Context(), scoped, spansOf(text), telemetry.Budget{})
		if _, ok := errors.AsType[*telemetry.QueryError](err); ok {
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		ran++
		for _, row := range r.Rows {
			for _, f := range row.Fields {
				if strings.Contains(f.Name+f.Value, markScope) || strings.Contains(f.Name+f.Value, markOther) {
					t.Errorf("%q shows %s=%.80s", text, f.Name, f.Value)
				}
			}
		}
	}
	if ran < 50 {
		t.Errorf("only %d queries ran", ran)
	}
	if r, err := c.QuerySpans(t.Context(), whole(tenant), spansOf(`"span_attr:mark":=markoutside`), telemetry.Budget{}); err != nil || len(r.Rows) != 20 {
		t.Errorf("the whole tenant shows %d rows, %v", len(r.Rows), err)
	}
	if r, err := c.QuerySpans(t.Context(), telemetry.View{}, spansOf("*"), telemetry.Budget{}); err != nil || len(r.Rows) != 0 {
		t.Errorf("the zero view shows %d rows, %v", len(r.Rows), err)
	}
	q := spansOf("*")
	q.Services = []string{"cart"}
	if r, err := c.QuerySpans(t.Context(), whole(tenant), q, telemetry.Budget{}); err != nil || len(r.Rows) != 20 {
		t.Errorf("one service shows %d rows, %v", len(r.Rows), err)
	}
}
