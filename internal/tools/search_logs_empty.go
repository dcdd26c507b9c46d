package tools

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

// noRows answers a search that found nothing: what was searched, what there
// is, and what to try next.
func (s *logSearch) noRows(ctx context.Context, res telemetry.LogResult) (Result, error) {
	c := s.call
	if c.cursor != nil {
		return Result{Text: s.headline(res, 0) + "\n# There are no more rows.\n"}, nil
	}
	return c.nothing(ctx, s.logQuestion, cmp.Or(res.Query, s.query))
}

// nothing answers a call about records of which there are none.
func (c *call) nothing(ctx context.Context, q logQuestion, query string) (Result, error) {
	if q.spans {
		return c.noSpans(ctx, spanQuestion{shown: q.describe(), text: q.text, services: q.services, window: q.window})
	}
	lines := []string{
		fmt.Sprintf("%s · team %s · %s · matched 0", c.tool.Name, c.caller.Team().Slug, q.window),
		"query: " + cell(cmp.Or(query, "*"), maxShownQuery, nil),
		"filters: " + q.filters(),
	}
	if scope := c.caller.DataScope(org.LogsRead); scope != "" {
		lines = append(lines, "data scope: only where "+cell(scope, maxShownQuery, nil))
	}
	if hidden := c.caller.View(org.LogsRead).Hidden(); len(hidden) > 0 {
		lines = append(lines, "hidden fields: "+cell(strings.Join(hidden, ", "), maxShownQuery, nil))
	}
	for _, note := range q.window.notes {
		lines = append(lines, "# "+note)
	}
	found, err := c.whatThereIs(ctx, q)
	if err != nil {
		return Result{}, err
	}
	for _, note := range found {
		lines = append(lines, "# "+note)
	}
	text := strings.Join(lines, "\n") + "\n"
	if most := c.room(); len(text) > most {
		text = clip(text, most-len("…"))
	}
	return Result{Text: text}, nil
}

// whatThereIs looks for the newest record of the services asked for, then for
// the newest of all, and returns notes for the assistant.
func (c *call) whatThereIs(ctx context.Context, q logQuestion) ([]string, error) {
	if len(q.services) > 0 {
		newest, err := c.newest(ctx, q.services)
		if err != nil {
			return couldNotLook(ctx, err)
		}
		if !newest.IsZero() {
			return c.butWhy(ctx, q, fmt.Sprintf("The newest record of %s is of %s.", services(q.services), exact(newest)), newest)
		}
	}
	newest, err := c.newest(ctx, nil)
	switch {
	case err != nil:
		return couldNotLook(ctx, err)
	case newest.IsZero():
		return []string{"There are no logs at all of the last 7 days that you can see. " +
			"If there should be, ask an admin of the team whether anything sends them, and whoami which data scope you have."}, nil
	case len(q.services) > 0:
		notes, err := c.unknownServices(ctx, q.services)
		if err != nil {
			return couldNotLook(ctx, err)
		}
		return append(notes, fmt.Sprintf("Call %s with one of the names of list_services, or without service.", c.tool.Name)), nil
	}
	return c.butWhy(ctx, q, fmt.Sprintf("The newest record that you can see is of %s.", exact(newest)), newest)
}

// butWhy adds what is likely the reason why nothing matches although there are
// records.
func (c *call) butWhy(ctx context.Context, q logQuestion, found string, newest time.Time) ([]string, error) {
	notes := []string{found}
	if !newest.Before(q.window.start) {
		unknown, err := c.unknownFields(ctx, q, queryFields(q.query))
		if err != nil {
			return couldNotLook(ctx, err)
		}
		if len(unknown) > 0 {
			return append(notes, unknown...), nil
		}
	}
	return append(notes, c.tryNext(q, newest)), nil
}

// newest returns the time of the newest record of the last days, zero where
// there is none.
func (c *call) newest(ctx context.Context, services []string) (time.Time, error) {
	res, err := c.queryLogs(ctx, "looking for the newest record", telemetry.LogQuery{
		Services: services, Start: c.now.Add(-lookBackWindow), End: c.now, Limit: 1,
	}, searchBytes)
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
func (c *call) tryNext(q logQuestion, newest time.Time) string {
	tool := c.tool.Name
	switch {
	case !hasParam(c.tool.params, "start"):
		return "Call search_logs to see which records there are, and give the time of one of them."
	case newest.Before(q.window.start):
		return fmt.Sprintf("That is before the window. Call %s with start=%q and the same other arguments.", tool, exact(newest.Add(-15*time.Minute)))
	case !newest.Before(q.window.end):
		return fmt.Sprintf("That is after the window. Call %s with a later end, or without start and end for the last hour.", tool)
	case len(q.severity) > 0 && !hasParam(c.tool.params, "severity"):
		return "So there are no such records in the window: widen it, or use a broader query."
	case len(q.severity) > 0 && q.query != "":
		return fmt.Sprintf("So it is the query or the severity that matches nothing: call %s without severity, then with a broader query.", tool)
	case len(q.severity) > 0:
		return fmt.Sprintf("So it is the severity that matches nothing: call %s without severity, or with a wider window.", tool)
	}
	return "So it is the query that matches nothing: use fewer words, check names of fields with list_fields, or widen the window."
}

func services(list []string) string {
	return "service " + cell(strings.Join(list, ", "), maxQuoted, nil)
}
