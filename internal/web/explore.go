package web

import (
	"html/template"
	"time"
)

// Explore is what the pages share on which people look at a team's telemetry.
type Explore struct {
	Account Account
	Nav     TeamNav
	// Tabs are Logs, Traces and Metrics.
	Tabs []ExploreTab
	// Refused says why nothing is shown, Next what to do about it; "" where
	// the person may read.
	Refused, Next string
	// Limits say what of the team's telemetry the person sees.
	Limits []string
	// Action is where the form goes to. Query, From and To are what was typed.
	Action, Query, From, To string
	// Ranges are times to choose with one press.
	Ranges []ExploreRange
	// Start and End are the time that is shown.
	Start, End time.Time
	// Errors holds a message by field; Mistake is where the query went wrong.
	Errors  map[string]string
	Mistake *Mistake
	// Problem says why there is no answer although the question is right.
	Problem string
	// Notes say what was changed or left out.
	Notes []string
	// Empty explains why nothing is there; nil where something is.
	Empty *ExploreEmpty
}

// ExploreTab is one of the signals.
type ExploreTab struct {
	Text, URL string
	Current   bool
}

// ExploreRange is a time that ends now.
type ExploreRange struct {
	Value, Text string
	Current     bool
}

// ExploreEmpty explains that nothing was found.
type ExploreEmpty struct {
	What  string
	Why   []string
	Links []Link
}

// ExploreOption is a choice in a list.
type ExploreOption struct {
	Value, Text string
	Selected    bool
}

// ExploreChart is a picture of values over time.
type ExploreChart struct {
	// Light and Dark are data URLs.
	Light         template.URL
	Dark          template.Srcset
	Width, Height int
	// Alt says in words what is to be seen.
	Alt string
}

// ExploreTable is numbers or text in rows and columns.
type ExploreTable struct {
	Caption string
	Columns []string
	Rows    []ExploreRow
}

// ExploreRow is a row of a table; its first cell leads to URL, if there is one.
type ExploreRow struct {
	Cells []string
	URL   string
}

// ExploreField is a field of a record.
type ExploreField struct {
	Name, Value string
	// Pick is sent to search for the value; "" where that is not possible.
	Pick string
	// URL leads to more about the value.
	URL string
}

// ExploreLogsPage searches logs.
type ExploreLogsPage struct {
	Explore
	Services, Severities []ExploreOption
	// Service and Severity are what was chosen.
	Service, Severity string
	// Summary says how much was found.
	Summary string
	Chart   *ExploreChart
	Counts  *ExploreTable
	Rows    []ExploreLog
	// Table shows what the query computed in place of Rows.
	Table *ExploreTable
	// Newest and Older lead to other rows.
	Newest, Older string
}

// ExploreLog is one log record.
type ExploreLog struct {
	At                         time.Time
	Severity, Service, Message string
	Fields                     []ExploreField
	// TraceURL and AroundURL lead to its trace and to what was written around
	// it.
	TraceURL, AroundURL string
}

// Tone is the style class of the record's severity.
func (l ExploreLog) Tone() string { return severityTone(l.Severity) }

func severityTone(severity string) string {
	switch severity {
	case "ERROR", "FATAL":
		return "tone-bad"
	case "WARN":
		return "tone-warn"
	}
	return "tone-calm"
}

// ExploreTracesPage searches traces.
type ExploreTracesPage struct {
	Explore
	Services []ExploreOption
	// Service, Operation, MinDuration and ErrorsOnly are what was chosen.
	Service, Operation, MinDuration string
	ErrorsOnly                      bool
	Summary                         string
	Traces                          []ExploreTraceRow
	Older                           string
}

// ExploreTraceRow is a trace in a list.
type ExploreTraceRow struct {
	ID, URL       string
	At            time.Time
	Name, Service string
	Duration      string
	Spans, Errors int64
	Services      int64
}

// ExploreTracePage shows a trace.
type ExploreTracePage struct {
	Explore
	ID string
	// Facts say what the trace is like.
	Facts []ExploreField
	Spans []ExploreSpan
	// Legend names the services with their colors.
	Legend []ExploreService
	// Ticks are the labels of the axis of time, at tenths of its width.
	Ticks []string
	// Logs are those of the trace, Withheld why they are not shown.
	Logs         []ExploreLog
	LogsWithheld string
	LogsURL      string
}

// ExploreService is a service and the number of its color.
type ExploreService struct {
	Name  string
	Color int
}

// ExploreSpan is a row of the waterfall. X and Width are thousandths of the
// trace.
type ExploreSpan struct {
	ID            string
	Depth, Level  int
	Name, Service string
	Color         int
	Offset        string
	Duration      string
	X, Width      int
	Error         bool
	// Critical says that the trace would have ended earlier without it.
	Critical bool
	Fields   []ExploreField
	Events   []ExploreEvent
	LogsURL  string
	// Alike is set where the row stands for several spans, of which Duration
	// is the sum.
	Alike *ExploreAlike
}

// ExploreAlike are siblings that look the same, with what is below each.
type ExploreAlike struct {
	Count int
	// Each says how long each lasted.
	Each  string
	Bars  []ExploreBar
	Spans []ExploreSpan
}

// ExploreBar is when a span ran, in thousandths of the trace.
type ExploreBar struct{ X, Width int }

// ExploreEvent is something that happened in a span.
type ExploreEvent struct {
	Offset, Name string
	Fields       []ExploreField
}

// ExploreMetricsPage evaluates PromQL.
type ExploreMetricsPage struct {
	Explore
	Unit    string
	Summary string
	Chart   *ExploreChart
	Table   *ExploreTable
	// Metrics are those there are, where nothing was asked for.
	Metrics []ExploreMetric
}

// ExploreMetric is a metric that could be looked at.
type ExploreMetric struct{ Name, Type, Unit, Help, URL string }

func (e Explore) exploreFrame(name, title string) frame {
	return frame{Name: name, Title: title + " · " + e.Nav.Name, Account: &e.Account, Current: "/teams"}
}

func (p ExploreLogsPage) frame() frame   { return p.exploreFrame("explorelogs", "Logs") }
func (p ExploreTracesPage) frame() frame { return p.exploreFrame("exploretraces", "Traces") }
func (p ExploreTracePage) frame() frame  { return p.exploreFrame("exploretrace", "Trace") }
func (p ExploreMetricsPage) frame() frame {
	return p.exploreFrame("exploremetrics", "Metrics")
}

// instant is a time to the millisecond, as records have it.
func instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") }

// exploreQuery is the field for a query.
type exploreQuery struct {
	Label, Hint, Value, Error string
	Mistake                   *Mistake
}

func newExploreQuery(e Explore, label, hint string) exploreQuery {
	return exploreQuery{Label: label, Hint: hint, Value: e.Query, Error: e.Errors["query"], Mistake: e.Mistake}
}

// exploreSelect is a list to choose from.
type exploreSelect struct {
	Name    string
	Options []ExploreOption
	Error   string
}

func newExploreSelect(name string, options []ExploreOption, problem string) exploreSelect {
	return exploreSelect{name, options, problem}
}
