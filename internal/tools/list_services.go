package tools

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

// fieldEnvironment names the deployment environment, a resource attribute of
// OpenTelemetry's semantic conventions.
const fieldEnvironment = "deployment.environment.name"

// filterErrors matches records of errors, after a pipe or in an if.
const filterErrors = `severity:in("ERROR","FATAL")`

func newListServices() *Tool {
	return &Tool{
		Name: "list_services", Title: "List services",
		Description: "Lists the services that sent logs in the window, with environment, records, share of errors and when last seen. A good first call.",
		Permission:  org.LogsRead,
		params: []param{
			textParam("search", "part of the name"), textParam("sort", "", "records", "errors", "recent", "name"),
			startParam, endParam, numberParam("limit", "", 1, 200, 25), tokensParam, cursorParam,
		},
		ReadOnly: true, Idempotent: true,
		handle: listServices,
	}
}

// A service is one row of list_services.
type service struct {
	name, environment string
	records, errors   int64
	last              time.Time
}

func listServices(ctx context.Context, c *call) (Result, error) {
	search, err := c.args.query("search")
	if err != nil {
		return Result{}, err
	}
	order, err := c.choice("sort", "records")
	if err != nil {
		return Result{}, err
	}
	limit, err := c.args.number("limit", 1, 200, 25)
	if err != nil {
		return Result{}, err
	}
	w, err := c.window(org.LogsRead)
	if err != nil {
		return Result{}, err
	}
	c.link("/explore", w)
	q := allLogs(w)
	res, err := c.askLogs(ctx, "listing services", q, q.with(
		"stats by ("+telemetry.FieldService+", "+fieldEnvironment+") count(_time) as n, count(_time) if ("+filterErrors+") as errors, max(_time) as last"+
			" | sort by (n desc) limit "+strconv.Itoa(maxServiceNames)), maxServiceNames)
	if err != nil {
		return Result{}, err
	}
	q.window.notes = w.notes
	if len(res.Rows) == 0 {
		return c.nothing(ctx, q, "")
	}
	var list []service
	var all []string
	unnamed := int64(0)
	for _, r := range res.Rows {
		s := service{name: r.Get(telemetry.FieldService), environment: r.Get(fieldEnvironment), records: integer(r.Get("n")), errors: integer(r.Get("errors"))}
		s.last, _, _ = parseTime(r.Get("last"), c.now)
		switch {
		case s.name == "":
			unnamed += s.records
		case strings.Contains(strings.ToLower(s.name), strings.ToLower(search)):
			list = append(list, s)
		}
		all = append(all, s.name)
	}
	sortServices(list, order)
	a := &answer{call: c, window: &w, kind: "log", unit: "services"}
	a.fact("%s", count(len(list), "service", "services"))
	minutes := w.end.Sub(w.start).Minutes()
	s := section{columns: []string{"service", "environment", "records", "per_minute", "errors", "errors_%", "last_seen"}, fixed: 1}
	from := 0
	if c.cursor != nil {
		from = min(c.cursor.offset, len(list))
	}
	page := list[from:min(len(list), from+limit)]
	for _, one := range page {
		s.rows = append(s.rows, []string{
			one.name, one.environment, strconv.FormatInt(one.records, 10), decimals(float64(one.records) / minutes),
			strconv.FormatInt(one.errors, 10), percent(one.errors, one.records), stamp(one.last),
		})
	}
	a.sections = []section{s}
	if len(list) == 0 {
		a.note("No service that you can see has %s in its name.", quoteArgument(search))
		if near := nearest(search, all); len(near) > 0 {
			a.note("Nearest names: %s.", names(near))
		}
	}
	if unnamed > 0 {
		a.note("%s no service.name.", count(int(unnamed), "record has", "records have"))
	}
	a.more = c.morePages("services", w, from, len(page), len(list))
	return a.render(), nil
}

// morePages returns the note of an answer that lists things in an order that a
// second query repeats: those from to from+page of all were to be shown.
func (c *call) morePages(what string, w window, from, page, all int) func(shown int) string {
	return func(shown int) string {
		if from+shown >= all {
			return ""
		}
		note := ""
		if shown == page {
			note = fmt.Sprintf("%d more %s. ", all-from-shown, what)
		}
		return note + c.goOn("the next ones", position{start: w.start, end: w.end, offset: from + shown})
	}
}

func sortServices(list []service, order string) {
	slices.SortStableFunc(list, func(a, b service) int {
		by := 0
		switch order {
		case "errors":
			by = cmp.Compare(b.errors, a.errors)
		case "recent":
			by = b.last.Compare(a.last)
		case "records":
			by = cmp.Compare(b.records, a.records)
		}
		return cmp.Or(by, strings.Compare(a.name, b.name), strings.Compare(a.environment, b.environment))
	})
}

// percent prints n of all, with a decimal where it is small.
func percent(n, all int64) string {
	if all <= 0 {
		return ""
	}
	return decimals(100 * float64(n) / float64(all))
}

// decimals prints a number with about three digits that count.
func decimals(f float64) string {
	switch {
	case f == 0:
		return "0"
	case f >= 100 || f <= -100:
		return strconv.FormatFloat(f, 'f', 0, 64)
	case f >= 10 || f <= -10:
		return trimZeros(strconv.FormatFloat(f, 'f', 1, 64))
	case f >= 0.01 || f <= -0.01:
		return trimZeros(strconv.FormatFloat(f, 'f', 2, 64))
	}
	return strconv.FormatFloat(f, 'g', 2, 64)
}

func trimZeros(s string) string { return strings.TrimSuffix(strings.TrimRight(s, "0"), ".") }
