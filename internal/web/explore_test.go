package web

import (
	"html/template"
	"time"
)

// withExplore adds the pages on which people look at telemetry, whose words
// are a stranger's.
func withExplore(pages map[string]Page) map[string]Page {
	const evil = `"><script>alert(1)</script>`
	frame := func(path string, tab int) Explore {
		e := Explore{
			Account: ada, Nav: TeamNav{Slug: "web-shop", Name: "Web <Shop>", Current: "explore"}, Action: "/teams/web-shop/explore" + path,
			From: "now-1h", To: "now", Start: now.Add(-time.Hour), End: now, Errors: map[string]string{},
			Tabs:   []ExploreTab{{Text: "Logs", URL: "/teams/web-shop/explore"}, {Text: "Traces", URL: "/teams/web-shop/explore/traces"}, {Text: "Metrics", URL: "/teams/web-shop/explore/metrics"}},
			Ranges: []ExploreRange{{Value: "15m", Text: "15 minutes"}, {Value: "1h", Text: "1 hour", Current: true}},
		}
		e.Tabs[tab].Current = true
		return e
	}
	const dot = `data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciIHZpZXdCb3g9IjAgMCAxIDEiLz4=`
	chart := &ExploreChart{Light: template.URL(dot), Dark: template.Srcset(dot), Width: 1120, Height: 240, Alt: "Log records over time: " + evil}
	services := []ExploreOption{{Text: "All"}, {Value: evil, Text: evil, Selected: true}}
	records := []ExploreLog{
		{
			At: now, Severity: "ERROR", Service: "cart", Message: evil, TraceURL: "/teams/web-shop/explore/trace/abc?from=x&to=y", AroundURL: "/teams/web-shop/explore?service=cart",
			Fields: []ExploreField{{Name: evil, Value: evil, Pick: "4:name=" + evil}, {Name: "user.email", Value: "a@example.com"}},
		},
		{At: now.Add(-time.Minute), Severity: "WARN", Message: ""},
		{At: now.Add(-time.Hour), Severity: "INFO", Service: "checkout", Message: "paid"},
	}
	with := func(e Explore, change func(*Explore)) Explore { change(&e); return e }

	pages["explorelogs"] = ExploreLogsPage{
		Explore: with(frame("", 0), func(e *Explore) {
			e.Query = "mark"
			e.Limits = []string{"Your data scope holds: you see only where env = prod."}
		}),
		Services: services, Severities: []ExploreOption{{Text: "All", Selected: true}}, Service: evil, Summary: "3 records match, 3 shown, newest first.",
		Chart: chart, Counts: &ExploreTable{Caption: "Log records over time", Columns: []string{"From (UTC)", "ERROR"}, Rows: []ExploreRow{{Cells: []string{"2026-11-23 14:00:00", "3"}, URL: "/teams/web-shop/explore?from=a&to=b"}}},
		Rows: records, Newest: "/teams/web-shop/explore", Older: "/teams/web-shop/explore?before=1",
	}
	pages["explorelogs_table"] = ExploreLogsPage{
		Explore: frame("", 0), Services: services, Severities: services, Summary: "What the query computed.",
		Table: &ExploreTable{Caption: "Result of the query", Columns: []string{"service.name", evil}, Rows: []ExploreRow{{Cells: []string{"cart", evil}}}},
	}
	pages["explorelogs_errors"] = ExploreLogsPage{
		Explore: with(frame("", 0), func(e *Explore) {
			e.Query, e.Mistake = "mark and (", &Mistake{Before: "mark and ", At: "("}
			e.Errors = map[string]string{"query": "The bracket is not closed, at character 10.", "service": "No.", "severity": "This is no severity.", "from": "This is no time.", "to": "This is not after the beginning."}
		}),
		Services: services, Severities: services,
	}
	pages["explorelogs_empty"] = ExploreLogsPage{
		Explore: with(frame("", 0), func(e *Explore) {
			e.Notes = []string{"Your roles let you look back 1h."}
			e.Empty = &ExploreEmpty{What: "No record matches in this time.", Why: []string{"The newest record that you can see is of 2026-11-22 10:00:00 UTC."}, Links: []Link{{Text: "Look there", URL: "/teams/web-shop/explore?from=x"}}}
		}),
		Services: services, Severities: services,
	}
	pages["explorelogs_refused"] = ExploreLogsPage{Explore: with(frame("", 0), func(e *Explore) {
		e.Refused, e.Next = "You may not read logs of this team.", "This needs the permission logs:Read."
	})}
	pages["exploretraces"] = ExploreTracesPage{
		Explore: frame("/traces", 1), Services: services, Operation: "GET /cart", MinDuration: "250ms", ErrorsOnly: true, Summary: "2 traces.",
		Traces: []ExploreTraceRow{
			{ID: "abc", URL: "/teams/web-shop/explore/trace/abc", At: now, Name: evil, Service: "cart", Duration: "250 ms", Spans: 12, Services: 3, Errors: 1},
			{ID: "def", URL: "/teams/web-shop/explore/trace/def", At: now, Name: "GET /", Service: "web", Duration: "12 ms", Spans: 1, Services: 1},
		},
		Older: "/teams/web-shop/explore/traces?before=1",
	}
	pages["exploretraces_errors"] = ExploreTracesPage{
		Explore: with(frame("/traces", 1), func(e *Explore) {
			e.Errors = map[string]string{"min": "Write a duration like 250ms."}
			e.Problem = "Traces are temporarily unavailable."
		}),
		Services: services,
	}
	pages["exploretrace"] = ExploreTracePage{
		Explore: frame("/trace", 1), ID: "5b8efff798038103d269b633813fc60c", Ticks: []string{"0 s", "62.5 ms", "125 ms", "188 ms", "250 ms"},
		Facts:  []ExploreField{{Name: "Trace", Value: "5b8efff798038103d269b633813fc60c"}, {Name: "Duration", Value: "250 ms"}},
		Legend: []ExploreService{{Name: "cart", Color: 0}, {Name: evil, Color: 1}},
		Spans: []ExploreSpan{
			{ID: "1", Depth: 0, Level: 1, Name: "GET /cart", Service: "cart", Color: 0, Offset: "0 s", Duration: "250 ms", X: 0, Width: 1000, Critical: true, Fields: []ExploreField{{Name: "self time", Value: "200 ms"}}, LogsURL: "/teams/web-shop/explore?query=x"},
			{
				ID: "2", Depth: 1, Level: 2, Name: evil, Service: evil, Color: 1, Offset: "20 ms", Duration: "50 ms", X: 80, Width: 200, Error: true,
				Fields: []ExploreField{{Name: evil, Value: evil}}, Events: []ExploreEvent{{Offset: "20 ms", Name: "exception", Fields: []ExploreField{{Name: "exception.type", Value: evil}}}},
			},
			{
				ID: "3", Depth: 1, Level: 2, Name: evil, Service: "cart", Offset: "100 ms", Duration: "80 ms", X: 400, Width: 80, Critical: true, Alike: &ExploreAlike{
					Count: 4, Each: "20 ms to 20 ms", Bars: []ExploreBar{{X: 400, Width: 80}, {X: 480, Width: 80}},
					Spans: []ExploreSpan{
						{ID: "3", Depth: 1, Level: 2, Name: evil, Service: "cart", Offset: "100 ms", Duration: "20 ms", X: 400, Width: 80, Critical: true, Fields: []ExploreField{{Name: "self time", Value: "20 ms"}}},
						{ID: "4", Depth: 1, Level: 2, Name: evil, Service: "cart", Offset: "120 ms", Duration: "20 ms", X: 480, Width: 80},
					},
				},
			},
		},
		Logs: records[2:], LogsURL: "/teams/web-shop/explore?query=y",
	}
	pages["exploretrace_nologs"] = ExploreTracePage{
		Explore: frame("/trace", 1), ID: "abc", Spans: []ExploreSpan{{ID: "1", Level: 1, Name: "x", Duration: "1 ms", Width: 1000}}, LogsWithheld: "You may not read the logs of this team.",
	}
	pages["exploretrace_errors"] = ExploreTracePage{Explore: with(frame("/trace", 1), func(e *Explore) { e.Errors = map[string]string{"trace": "A trace id is 32 hexadecimal digits."} })}
	pages["exploremetrics"] = ExploreMetricsPage{
		Explore: with(frame("/metrics", 2), func(e *Explore) { e.Query = "queue_length" }), Unit: "s", Summary: "1 series, a point every 15s.", Chart: chart,
		Table: &ExploreTable{Caption: "Series", Columns: []string{"Series", "Last"}, Rows: []ExploreRow{{Cells: []string{evil, "1.5 s"}}}},
	}
	pages["exploremetrics_list"] = ExploreMetricsPage{
		Explore: frame("/metrics", 2), Summary: "1 metric. Each leads to a query to begin with.",
		Metrics: []ExploreMetric{{Name: "queue_length", Type: "gauge", Unit: "{item}", Help: evil, URL: "/teams/web-shop/explore/metrics?query=queue_length"}},
	}
	return pages
}
