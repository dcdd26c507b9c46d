package tools

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

// noRows answers a search that found nothing: what was searched, what there
// is, and what to try next. It costs at most two queries of one row.
func (cfg Config) noRows(ctx context.Context, c *access.Caller, s logSearch, res telemetry.LogResult) (Result, error) {
	query := res.Query
	if query == "" {
		query = s.query
	}
	if query == "" {
		query = "*"
	}
	lines := []string{
		fmt.Sprintf("search_logs · team %s · %s · matched 0", s.team, s.window()),
		"query: " + cell(query, maxShownQuery, nil),
		"filters: " + s.filters(),
	}
	scope := c.DataScope(org.LogsRead)
	if scope != "" {
		lines = append(lines, "data scope: only where "+cell(scope, maxShownQuery, nil))
	}
	if hidden := c.View(org.LogsRead).Hidden(); len(hidden) > 0 {
		lines = append(lines, "hidden fields: "+cell(strings.Join(hidden, ", "), maxShownQuery, nil))
	}
	for _, note := range s.headNotes() {
		lines = append(lines, "# "+note)
	}
	found, err := cfg.whatThereIs(ctx, c.View(org.LogsRead), s)
	if err != nil {
		return Result{}, err
	}
	for _, note := range found {
		lines = append(lines, "# "+note)
	}
	text := strings.Join(lines, "\n") + "\n"
	if most := s.maxTokens * bytesPerToken; len(text) > most {
		text = clip(text, most-len("…"))
	}
	return Result{Text: text}, nil
}

// whatThereIs looks for the newest record of the services asked for, then for
// the newest of all, and returns notes for the assistant.
func (cfg Config) whatThereIs(ctx context.Context, view telemetry.View, s logSearch) ([]string, error) {
	if len(s.services) > 0 {
		newest, err := cfg.newest(ctx, view, s.services, s.now)
		if err != nil {
			return couldNotLook(ctx, err)
		}
		if !newest.IsZero() {
			return []string{
				fmt.Sprintf("The newest record of %s is of %s.", services(s.services), exact(newest)),
				s.tryNext(newest),
			}, nil
		}
	}
	newest, err := cfg.newest(ctx, view, nil, s.now)
	switch {
	case err != nil:
		return couldNotLook(ctx, err)
	case newest.IsZero():
		return []string{"There are no logs at all of the last 7 days that you can see. " +
			"If there should be, ask an admin of the team whether anything sends them, and whoami which data scope you have."}, nil
	case len(s.services) > 0:
		return []string{
			fmt.Sprintf("There are no records of %s that you can see in the last 7 days; of other services there are, the newest of %s.", services(s.services), exact(newest)),
			`For the names there are call search_logs with query="* | stats by (service.name) count() n | sort by (n desc)" start="now-7d" and without service.`,
		}, nil
	}
	return []string{fmt.Sprintf("The newest record that you can see is of %s.", exact(newest)), s.tryNext(newest)}, nil
}

// newest returns the time of the newest record of the last days, zero where
// there is none.
func (cfg Config) newest(ctx context.Context, view telemetry.View, services []string, now time.Time) (time.Time, error) {
	res, err := cfg.Logs.QueryLogs(ctx, view, telemetry.LogQuery{
		Services: services, Start: now.Add(-lookBackWindow), End: now, Limit: 1,
	}, telemetry.Budget{Rows: 1, Bytes: searchBytes, Time: searchTime})
	if err != nil || len(res.Rows) == 0 {
		return time.Time{}, err
	}
	return res.Rows[0].Time, nil
}

// couldNotLook reports a failed look around: the search itself was answered.
func couldNotLook(ctx context.Context, err error) ([]string, error) {
	if ctx.Err() != nil {
		return nil, err
	}
	return []string{"What logs there are could not be looked up just now. Try a wider window, such as start=\"now-1d\", or fewer filters."}, nil
}

// tryNext says which call is likely to find something, knowing when the newest
// record of the services asked for was written.
func (s *logSearch) tryNext(newest time.Time) string {
	switch {
	case newest.Before(s.start):
		return fmt.Sprintf("That is before the window. Call search_logs with start=%q and the same other arguments.", exact(newest.Add(-15*time.Minute)))
	case !newest.Before(s.end):
		return "That is after the window. Call search_logs with a later end, or without start and end for the last hour."
	case len(s.severity) > 0 && s.query != "":
		return "So it is the query or the severity that matches nothing: call search_logs without severity, then with a broader query."
	case len(s.severity) > 0:
		return "So it is the severity that matches nothing: call search_logs without severity, or with a wider window."
	}
	return `So it is the query that matches nothing: use fewer words, check names of fields with query="* | limit 5", or widen the window.`
}

func services(list []string) string {
	return "service " + cell(strings.Join(list, ", "), maxQuoted, nil)
}
