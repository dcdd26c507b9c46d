package tools

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

// Viewer is somebody who reads telemetry: an access.Caller, or an
// access.Visitor at the console.
type Viewer interface {
	Person() org.Person
	Team() org.Team
	May(p org.Permission) bool
	View(p org.Permission) telemetry.View
}

// NoPermission says why somebody may not use p, and who can change that, as
// the rest of a sentence.
func NoPermission(who interface {
	Team() org.Team
	Roles() []string
}, p org.Permission,
) string {
	s := fmt.Sprintf("needs the permission %s, which your roles in team %s (%s) do not give; ask an admin of team %s",
		p, who.Team().Slug, strings.Join(who.Roles(), ", "), who.Team().Slug)
	if role := weakestRole(p); role != "" {
		s += " for a role that has it, such as " + role
	}
	return s
}

// usage is what one call, or one page, has asked of the engines.
type usage struct {
	queries int
	spent   time.Duration
}

// spend runs one query to an engine for a person: in their turn, within what
// is left to the call and to them. most is the longest the query itself may
// take. Errors: problems, telemetry.ErrTooExpensive, the context's and run's.
func (s *Set) spend(ctx context.Context, person org.PersonID, u *usage, most time.Duration, run func(ctx context.Context, most time.Duration) error) error {
	limits := s.limiter.limits
	left := limits.CallTime - u.spent
	if u.queries >= limits.CallQueries || left <= 0 {
		return fmt.Errorf("%w: the call has used up its time", telemetry.ErrTooExpensive)
	}
	u.queries++
	end, err := s.limiter.begin(ctx, person)
	if err != nil {
		return err
	}
	defer end()
	began := s.Now()
	defer func() { u.spent += s.Now().Sub(began) }()
	return run(ctx, min(most, left))
}

// readLogs, readSpans and readMetrics are the only ways to the engines'
// records: what is read is what the viewer may see with the permission that
// the signal needs.
func (s *Set) readLogs(ctx context.Context, who Viewer, q telemetry.LogQuery, bytes int, most time.Duration) (telemetry.LogResult, error) {
	return s.Logs.QueryLogs(ctx, who.View(org.LogsRead), q, telemetry.Budget{Rows: q.Limit, Bytes: bytes, Time: most})
}

func (s *Set) readSpans(ctx context.Context, who Viewer, q telemetry.SpanQuery, bytes int, most time.Duration) (telemetry.SpanResult, error) {
	return s.Spans.QuerySpans(ctx, who.View(org.SpansRead), q, telemetry.Budget{Rows: q.Limit, Bytes: bytes, Time: most})
}

func (s *Set) readMetrics(ctx context.Context, who Viewer, q telemetry.MetricQuery, series int, most time.Duration) (telemetry.MetricResult, error) {
	return s.Metrics.QueryMetrics(ctx, who.View(org.MetricsRead), q, telemetry.Budget{Rows: series, Time: most})
}

// A Reader reads telemetry for one page of the console, through the same
// views, guard and limits as the tools: what a person asks there counts
// together with what their assistants ask. It belongs to one goroutine.
//
// Errors of its methods are *telemetry.QueryError, telemetry.ErrUnavailable,
// telemetry.ErrTooExpensive, the context's, and those that Problem knows.
type Reader struct {
	set *Set
	who Viewer
	usage
}

// Reader returns a reader for a viewer.
func (s *Set) Reader(who Viewer) *Reader { return &Reader{set: s, who: who} }

// Check returns the canonical text of a query for logs or spans, and whether it
// computes more than a search.
func (r *Reader) Check(text string) (canonical string, hasPipes bool, err error) {
	return r.set.CheckLogs(text, r.set.Now())
}

// Logs reads log records.
func (r *Reader) Logs(ctx context.Context, q telemetry.LogQuery) (res telemetry.LogResult, err error) {
	err = r.set.spend(ctx, r.who.Person().ID, &r.usage, searchTime, func(ctx context.Context, most time.Duration) error {
		res, err = r.set.readLogs(ctx, r.who, q, searchBytes, most)
		return err
	})
	return res, err
}

// Spans reads spans.
func (r *Reader) Spans(ctx context.Context, q telemetry.SpanQuery) (res telemetry.SpanResult, err error) {
	err = r.set.spend(ctx, r.who.Person().ID, &r.usage, searchTime, func(ctx context.Context, most time.Duration) error {
		res, err = r.set.readSpans(ctx, r.who, q, searchBytes, most)
		return err
	})
	return res, err
}

// Metrics evaluates PromQL; at most so many series are returned.
func (r *Reader) Metrics(ctx context.Context, q telemetry.MetricQuery, series int) (res telemetry.MetricResult, err error) {
	err = r.set.spend(ctx, r.who.Person().ID, &r.usage, searchTime, func(ctx context.Context, most time.Duration) error {
		res, err = r.set.readMetrics(ctx, r.who, q, series, most)
		return err
	})
	return res, err
}

// MetricInfos describes the metrics of a time.
func (r *Reader) MetricInfos(ctx context.Context, q telemetry.SeriesQuery) (infos []telemetry.MetricInfo, more bool, err error) {
	err = r.set.spend(ctx, r.who.Person().ID, &r.usage, searchTime, func(ctx context.Context, most time.Duration) error {
		infos, more, err = r.set.Metrics.MetricInfos(ctx, r.who.View(org.MetricsRead), q, telemetry.Budget{Rows: q.Limit, Time: most})
		return err
	})
	return infos, more, err
}

// Problem returns what an error says that whoever asked can do something
// about.
func Problem(err error) (text string, ok bool) {
	p, ok := errors.AsType[problem](err)
	return string(p), ok
}

// ParseTime reads an instant as the tools do: now-15m, 2026-11-23 14:00, RFC
// 3339. Errors say what can be written.
func ParseTime(text string, now time.Time) (time.Time, error) {
	t, _, err := parseTime(text, now)
	return t, err
}

// ParseSeverities reads severities as the tools do: warn+, or several
// separated by commas. Errors say what can be written.
func ParseSeverities(text string) ([]string, error) { return severitiesOf([]string{text}) }

// severitiesOf returns the severities that a list names, least severe first.
func severitiesOf(list []string) ([]string, error) {
	all := telemetry.Severities()
	wanted := make(map[string]bool)
	for _, text := range list {
		for part := range strings.SplitSeq(text, ",") {
			name, above := strings.CutSuffix(strings.TrimSpace(part), "+")
			if name == "" && !above {
				continue
			}
			i := slices.Index(all, telemetry.ParseSeverity(name))
			if i < 0 {
				return nil, problemf("severity %s is not known; use %s, several separated by commas, or for example warn+ for warn and above.",
					quoteArgument(part), strings.ToLower(strings.Join(all, ", ")))
			}
			wanted[all[i]] = true
			if above {
				for _, more := range all[i:] {
					wanted[more] = true
				}
			}
		}
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	return slices.DeleteFunc(all, func(name string) bool { return !wanted[name] }), nil
}

// FieldIs is LogsQL for the records whose field has a value.
func FieldIs(name, value string) string { return quoteLogs(name) + ":=" + strconv.Quote(value) }
