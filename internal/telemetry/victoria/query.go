package victoria

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/VictoriaLogs/lib/logstorage"
	"github.com/valyala/fastjson"

	"github.com/orielhq/oriel/internal/telemetry"
)

// What a query may cost where its budget does not say.
const (
	defaultRows  = 1000
	defaultBytes = 4 << 20
	// maxRows is what the engine's fast path for the newest rows takes.
	maxRows = 50_000
	// maxLineBytes of one row in the engine's answer: pipes may make rows
	// larger than they were stored.
	maxLineBytes = 16 << 20
	// maxErrorBytes of the engine's message are read, to tell its kind.
	maxErrorBytes = 16 << 10
	// deadlineGrace is how much longer than the engine we wait, so that its
	// own answer about the time is the one that arrives.
	deadlineGrace = 2 * time.Second
)

// missingMessage is what an engine with default settings stores where a
// record has no message; ours stores nothing.
const missingMessage = "missing _msg field; see https://docs.victoriametrics.com/victorialogs/keyconcepts/#message-field"

// QueryLogs implements telemetry.Logs.
func (c *Client) QueryLogs(ctx context.Context, view telemetry.View, q telemetry.LogQuery, b telemetry.Budget) (telemetry.LogResult, error) {
	return c.query(ctx, view, question{
		text: q.Text, start: q.Start, end: q.End, limit: q.Limit, count: q.CountTotal, decode: decodeLog,
		fields: []fieldValues{{telemetry.FieldService, q.Services}, {telemetry.FieldSeverity, q.Severities}},
	}, b)
}

// QuerySpans implements telemetry.Spans.
func (c *Client) QuerySpans(ctx context.Context, view telemetry.View, q telemetry.SpanQuery, b telemetry.Budget) (telemetry.SpanResult, error) {
	r, err := c.query(ctx, view, question{
		text: q.Text, start: q.Start, end: q.End, limit: q.Limit, count: q.CountTotal, decode: decodeSpan,
		fields: []fieldValues{{telemetry.FieldSpanService, q.Services}},
	}, b)
	return telemetry.SpanResult(r), err
}

// A question is a query for rows of either signal.
type question struct {
	text       string
	start, end time.Time
	limit      int
	count      bool
	fields     []fieldValues
	decode     func(name string, value []byte) bool
}

// fieldValues restricts a field to values; none is all.
type fieldValues struct {
	name   string
	values []string
}

func (c *Client) query(ctx context.Context, view telemetry.View, q question, b telemetry.Budget) (telemetry.LogResult, error) {
	tenant, ok := view.Tenant()
	if !ok {
		return telemetry.LogResult{}, nil
	}
	if q.start.IsZero() || !q.start.Before(q.end) {
		return telemetry.LogResult{}, &telemetry.QueryError{Problem: "the start of the time range must be before its end", Offset: -1}
	}
	if err := ctx.Err(); err != nil {
		return telemetry.LogResult{}, err
	}
	now := c.now()
	canonical, hasPipes, err := Guard(q.text, now)
	if err != nil {
		return telemetry.LogResult{}, err
	}
	if c.remote {
		if err := refuseOnClusters(canonical, now); err != nil {
			return telemetry.LogResult{}, err
		}
	}
	hidden := view.Hidden()
	if len(hidden) > 0 {
		if err := refuseStreams(canonical, now); err != nil {
			return telemetry.LogResult{}, err
		}
	}
	b = withDefaults(b, q.limit)
	r := request{
		tenant: tenant, text: canonical, now: now, start: q.start, end: q.end,
		filters: extraFilters(view, q.fields, now), hidden: hiddenFilters(canonical, hidden), limit: b.Rows + 1, bytes: b.Bytes, keep: q.decode,
	}
	if err := r.rehearse(); err != nil {
		return telemetry.LogResult{}, err
	}

	deadline, cancel := context.WithTimeout(ctx, b.Time+deadlineGrace)
	defer cancel()
	r.timeout = b.Time
	count := sync.OnceValues(func() (int64, error) { return c.count(deadline, r) })
	var counting sync.WaitGroup
	if q.count && canonical == "*" {
		// Nearly always there is more than is shown, so it is not waited for.
		counting.Go(func() { _, _ = count() })
	}
	rows, cut, err := c.run(deadline, r)
	if err != nil {
		cancel()
		counting.Wait()
		return telemetry.LogResult{}, callerError(ctx, err)
	}
	withoutHidden(rows, hidden)
	result := telemetry.LogResult{Rows: rows, More: cut, Total: -1, Query: canonical}
	if len(rows) > b.Rows {
		result.Rows, result.More = rows[:b.Rows], true
	}
	if !q.count || hasPipes {
		return result, nil
	}
	if !result.More {
		cancel()
		counting.Wait()
		result.Total = int64(len(result.Rows))
		return result, nil
	}
	result.Total, err = count()
	return result, callerError(ctx, err)
}

// callerError tells the end of our own deadline from that of the caller's.
func callerError(caller context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case caller.Err() != nil:
		return caller.Err()
	case errors.Is(err, telemetry.ErrUnavailable):
		return err // it did not even begin to answer
	case errors.Is(err, context.DeadlineExceeded):
		return telemetry.ErrTooExpensive
	}
	return err
}

func withDefaults(b telemetry.Budget, limit int) telemetry.Budget {
	if b.Rows <= 0 {
		b.Rows = defaultRows
	}
	if limit > 0 {
		b.Rows = min(b.Rows, limit)
	}
	b.Rows = min(b.Rows, maxRows-1)
	if b.Bytes <= 0 {
		b.Bytes = defaultBytes
	}
	if b.Time <= 0 {
		b.Time = DefaultQueryTimeout
	}
	return b
}

// extraFilters are the conditions that the engine puts on every row that a
// query reads, at any depth.
func extraFilters(view telemetry.View, fields []fieldValues, now time.Time) []string {
	var filters []string
	if scope := scopeOf(view); scope != "" {
		filters = append(filters, scope)
	}
	if d := view.LookBack(); d > 0 {
		filters = append(filters, "_time:>="+strconv.Quote(now.Add(-d).UTC().Format(time.RFC3339Nano)))
	}
	for _, f := range fields {
		if len(f.values) > 0 {
			filters = append(filters, compileValues(f.name, f.values))
		}
	}
	return filters
}

// compileFilter writes a data scope as LogsQL on the fields that only ingest
// writes.
func compileFilter(f *telemetry.Filter) string {
	if f.Node() == nil {
		return "!*"
	}
	return compileNode(f.Node())
}

func compileNode(n telemetry.Node) string {
	switch n := n.(type) {
	case *telemetry.Condition:
		return compileValues(telemetry.ResourcePrefix+n.Name(), n.Values())
	case *telemetry.Not:
		return "!(" + compileNode(n.Node()) + ")"
	case *telemetry.All:
		return compileNodes(n.Nodes(), " and ")
	case *telemetry.Any:
		return compileNodes(n.Nodes(), " or ")
	}
	// A node of a kind that is not known here must not widen the scope.
	return "!*"
}

func compileNodes(nodes []telemetry.Node, operator string) string {
	parts := make([]string, len(nodes))
	for i, n := range nodes {
		parts[i] = compileNode(n)
	}
	return "(" + strings.Join(parts, operator) + ")"
}

func compileValues(field string, values []string) string {
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = strconv.Quote(field) + ":=" + strconv.Quote(v)
	}
	return "(" + strings.Join(parts, " or ") + ")"
}

// A request is one query to the engine.
type request struct {
	tenant     telemetry.TenantID
	text       string
	filters    []string
	hidden     string
	now        time.Time
	start, end time.Time
	limit      int // rows
	bytes      int
	timeout    time.Duration
	// keep says which fields of a row are its own.
	keep func(name string, value []byte) bool
}

// rehearse builds the query as the engine is going to, and parses the result
// once more: the engine does so too and dies where it fails.
func (r request) rehearse() (err error) {
	defer func() {
		if recover() != nil {
			err = ambiguous()
		}
	}()
	q, err := parseQuery(r.text, r.now)
	if err != nil {
		return err
	}
	q.AddTimeFilter(r.start.UnixNano(), r.end.UnixNano()-1)
	for _, text := range r.filters {
		f, err := logstorage.ParseFilter(text)
		if err != nil {
			return fmt.Errorf("compile the data scope: %w", err)
		}
		q.AddExtraFilters(f)
	}
	if q.CanReturnLastNResults() {
		q.AddPipeSortByTimeDesc()
	}
	q.AddPipeOffsetLimit(0, uint64(r.limit))
	if _, err := parseQuery(q.String(), r.now); err != nil {
		return ambiguous()
	}
	return nil
}

func (r request) form() url.Values {
	v := url.Values{
		"query":         {r.text},
		"time":          {timeArg(r.now)},
		"start":         {timeArg(r.start)},
		"end":           {timeArg(r.end)},
		"limit":         {strconv.Itoa(r.limit)},
		"timeout":       {strconv.FormatInt(r.timeout.Milliseconds(), 10) + "ms"},
		"extra_filters": r.filters,
		// Of a cluster: an answer that lacks a storage node's rows is an error,
		// whatever its own setting says.
		"allow_partial_response": {"false"},
	}
	if r.hidden != "" {
		v.Set("hidden_fields_filters", r.hidden)
	}
	return v
}

func timeArg(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// count asks how many rows the search finds.
func (c *Client) count(ctx context.Context, r request) (int64, error) {
	// The text is canonical and has no pipes, so nothing in it can swallow this
	// one. count(_time), because a cluster counts nothing where no column is asked for.
	r.text += " | stats count(_time) as total"
	r.limit = 1
	rows, _, err := c.run(ctx, r)
	if err != nil {
		return -1, err
	}
	if len(rows) == 0 {
		return 0, nil
	}
	total, err := strconv.ParseInt(rows[0].Get("total"), 10, 64)
	if err != nil {
		return -1, fmt.Errorf("count rows: %w", err)
	}
	return total, nil
}

// run asks the engine and reads rows until the request's bytes are used up,
// which cut reports.
func (c *Client) run(ctx context.Context, r request) (rows []telemetry.LogRow, cut bool, err error) {
	resp, err := c.do(ctx, http.MethodPost, c.base+pathQuery, r.tenant, "application/x-www-form-urlencoded", []byte(r.form().Encode()))
	if err != nil {
		return nil, false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes))
		if err != nil {
			return nil, false, unavailable(ctx, err)
		}
		return nil, false, engineError(resp.StatusCode, string(text))
	}
	decoder := rowDecoder{keep: r.keep, names: make(map[string]string)}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxLineBytes)
	size := 0
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue
		}
		row, n, err := decoder.decode(lines.Bytes())
		if err != nil {
			// The engine reports what fails after the first row in its body.
			return nil, false, engineError(resp.StatusCode, string(lines.Bytes()[:min(len(lines.Bytes()), maxErrorBytes)]))
		}
		if size += n; size > r.bytes {
			return rows, true, nil
		}
		rows = append(rows, row)
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return nil, false, telemetry.ErrTooExpensive
	}
	if lines.Err() != nil {
		return nil, false, unavailable(ctx, lines.Err())
	}
	return rows, false, nil
}

// A rowDecoder reads the rows of one answer, which mostly have the same fields.
type rowDecoder struct {
	keep   func(name string, value []byte) bool
	parser fastjson.Parser
	names  map[string]string
	values []byte // of the row
}

// decode copies a row out of its line and returns its size.
func (d *rowDecoder) decode(line []byte) (row telemetry.LogRow, size int, err error) {
	v, err := d.parser.ParseBytes(line)
	if err != nil {
		return row, 0, err
	}
	object, err := v.Object()
	if err != nil {
		return row, 0, nil
	}
	row.Fields = make([]telemetry.Field, 0, object.Len())
	ends := make([]int, 0, object.Len())
	d.values = d.values[:0]
	object.Visit(func(key []byte, v *fastjson.Value) {
		name, ok := d.names[string(key)]
		if !ok {
			name = string(key)
			d.names[name] = name
		}
		value := v.GetStringBytes()
		switch {
		case len(value) == 0, name == "_stream", name == "_stream_id", !d.keep(name, value):
			return
		case name == telemetry.FieldTime:
			if t, err := time.Parse(time.RFC3339Nano, string(value)); err == nil {
				row.Time = t
				return
			}
		}
		row.Fields = append(row.Fields, telemetry.Field{Name: name})
		d.values = append(d.values, value...)
		ends = append(ends, len(d.values))
		size += len(name) + len(value)
	})
	// One string holds the row's values.
	values, start := string(d.values), 0
	for i, end := range ends {
		row.Fields[i].Value, start = values[start:end], end
	}
	return row, size, nil
}

// decodeLog leaves out the copies that data scopes match.
func decodeLog(name string, value []byte) bool {
	return !strings.HasPrefix(name, telemetry.ResourcePrefix) && (name != telemetry.FieldMessage || string(value) != missingMessage)
}

// decodeSpan leaves out the message, which VictoriaTraces fills with a dash.
func decodeSpan(name string, value []byte) bool {
	return name != telemetry.FieldMessage || string(value) != "-"
}

// overrun is in what the engine answers, with status 503, to a query that took
// longer than it may.
const overrun = "couldn't be executed in"

// Overrun tells such an answer from one that says something of the engine.
func Overrun(answer []byte) bool { return bytes.Contains(answer, []byte(overrun)) }

// engineError translates what the engine says, without repeating it: its
// messages hold the tenant, the data scope, paths and addresses.
func engineError(status int, text string) error {
	switch {
	case strings.Contains(text, "couldn't start executing"), status == http.StatusTooManyRequests:
		return fmt.Errorf("%w: too many queries are running", telemetry.ErrUnavailable)
	case strings.Contains(text, overrun), strings.Contains(text, "of memory"), strings.Contains(text, "memory limit"):
		return telemetry.ErrTooExpensive
	case status == http.StatusBadRequest || status == http.StatusOK:
		return &telemetry.QueryError{Problem: "the engine could not run the query; write it in a simpler way", Offset: -1}
	}
	return fmt.Errorf("%w (status %d)", telemetry.ErrUnavailable, status)
}
