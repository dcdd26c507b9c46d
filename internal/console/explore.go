package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/tools"
	"github.com/orielhq/oriel/internal/web"
)

// exploreRoutes are the pages on which members look at their team's telemetry.
// They read through tools.Reader, as the tools do, and refuse what those
// refuse.
func (c *Console) exploreRoutes() []web.Route {
	return []web.Route{
		c.teamPage("GET /teams/{slug}/explore", web.Member, c.exploreLogs),
		c.teamPage("GET /teams/{slug}/explore/traces", web.Member, c.exploreTraces),
		c.teamPage("GET /teams/{slug}/explore/trace", web.Member, c.findTrace),
		c.teamPage("GET /teams/{slug}/explore/trace/{id}", web.Member, c.exploreTrace),
		c.teamPage("GET /teams/{slug}/explore/metrics", web.Member, c.exploreMetrics),
	}
}

// exploreRanges are the times to choose with one press.
var exploreRanges = []struct {
	value, text string
	length      time.Duration
}{
	{"15m", "15 minutes", 15 * time.Minute},
	{"1h", "1 hour", time.Hour},
	{"6h", "6 hours", 6 * time.Hour},
	{"24h", "24 hours", 24 * time.Hour},
	{"7d", "7 days", 7 * 24 * time.Hour},
}

const (
	// defaultExploreRange is shown where nothing was asked for.
	defaultExploreRange = "1h"
	// maxExploreValue bounds what is shown of one value, in runes.
	maxExploreValue = 4000
	// maxPickBytes bounds the values that can be searched for with one press.
	maxPickBytes = 300
	// exploreServices bounds the list of services to choose from.
	exploreServices = 200
	// exploreChartWidth and exploreChartHeight are in pixels.
	exploreChartWidth, exploreChartHeight = 1120, 240
	// emptyLookBack is how far back is looked for what there is, where nothing
	// was found.
	emptyLookBack = 7 * 24 * time.Hour
)

// An explorer is one request for a page of Explore.
type explorer struct {
	c       *Console
	r       *http.Request
	visitor *access.Visitor
	reader  *tools.Reader
	now     time.Time
	form    url.Values
	page    web.Explore
	// status is what the page is answered with.
	status int
}

// explorer reads what all pages of Explore ask for. Where its page says
// Refused or has Errors, nothing must be read. usual is how far back it looks
// where no time is given.
func (c *Console) explorer(r *http.Request, m manager, path string, p org.Permission, usual string) (*explorer, error) {
	base := "/teams/" + m.team.Slug + "/explore"
	e := &explorer{c: c, r: r, now: c.Now().UTC(), form: r.URL.Query(), status: http.StatusOK}
	e.page = web.Explore{
		Account: account(m.Session), Nav: *m.nav("explore"), Action: base + path, Errors: map[string]string{},
		Query: strings.TrimSpace(e.form.Get("query")), From: strings.TrimSpace(e.form.Get("from")), To: strings.TrimSpace(e.form.Get("to")),
		Tabs: []web.ExploreTab{
			{Text: "Logs", URL: base, Current: p == org.LogsRead},
			{Text: "Traces", URL: base + "/traces", Current: p == org.SpansRead},
			{Text: "Metrics", URL: base + "/metrics", Current: p == org.MetricsRead},
		},
	}
	if c.Explore == nil {
		e.page.Refused = "There is no telemetry store to look into."
		return e, nil
	}
	var err error
	e.visitor, err = access.Visit(r.Context(), c.Directory, c.Authority.Lifetimes, m.Person, m.team, access.SignIn{AMR: m.AMR, Time: m.AuthTime}, e.now)
	if err != nil {
		return nil, fmt.Errorf("explore: %w", err)
	}
	e.reader = c.Explore.Reader(e.visitor)
	switch {
	case !m.standing.Member():
		e.page.Refused = "You are not a member of this team, so you see nothing of its telemetry."
		e.page.Next = "As an owner you can add yourself, which the audit log shows."
	case e.visitor.Refused() != "":
		e.page.Refused = upperFirst(e.visitor.Refused()) + "."
	case !e.visitor.May(p):
		e.page.Refused = "You may not " + p.Words() + " of this team."
		e.page.Next = "This " + tools.NoPermission(e.visitor, p) + "."
	default:
		e.page.Limits = limitsOf(e.visitor, p)
	}
	e.readTime(p, usual)
	return e, nil
}

// limitsOf says what a view leaves out.
func limitsOf(v *access.Visitor, p org.Permission) []string {
	var out []string
	view := v.View(p)
	if f := view.Filter(); f != nil {
		out = append(out, "Your data scope holds: you see only where "+f.String()+".")
	}
	if hidden := view.Hidden(); len(hidden) > 0 {
		out = append(out, "Hidden from you: "+strings.Join(hidden, ", ")+".")
	}
	return out
}

// readTime reads the time that is asked for.
func (e *explorer) readTime(p org.Permission, usual string) {
	value := e.form.Get("range")
	for _, r := range exploreRanges {
		if r.value == value {
			e.page.From, e.page.To = "now-"+value, "now"
		}
	}
	if e.page.To == "" {
		e.page.To = "now"
	}
	if e.page.From == "" {
		e.page.From = "now-" + usual
	}
	for _, r := range exploreRanges {
		e.page.Ranges = append(e.page.Ranges, web.ExploreRange{Value: r.value, Text: r.text, Current: e.page.From == "now-"+r.value && e.page.To == "now"})
	}
	read := func(field, text string) time.Time {
		// A space between day and time is easier to write than a T.
		if len(text) > len(time.DateOnly) && text[len(time.DateOnly)] == ' ' {
			text = text[:len(time.DateOnly)] + "T" + text[len(time.DateOnly)+1:]
		}
		t, err := tools.ParseTime(text, e.now)
		if err != nil {
			e.page.Errors[field] = "This is no time: write it like 2026-11-23 14:00 (UTC), now, or now-2h."
		}
		return t
	}
	start, end := read("from", e.page.From), read("to", e.page.To)
	if len(e.page.Errors) > 0 {
		return
	}
	if end.After(e.now) {
		end = e.now
	}
	switch {
	case !start.Before(e.now):
		e.page.Errors["from"] = "This is not in the past."
	case !start.Before(end):
		e.page.Errors["to"] = "This is not after the beginning."
	}
	if most := e.visitorView(p).LookBack(); most > 0 && start.Before(e.now.Add(-most)) {
		start = e.now.Add(-most)
		e.page.Notes = append(e.page.Notes, fmt.Sprintf("Your roles let you look back %s, so this begins at %s.", org.FormatLookBack(most), start.Format("2006-01-02 15:04:05")))
		if !start.Before(end) {
			e.page.Errors["to"] = "Your roles do not let you look back so far."
		}
	}
	e.page.Start, e.page.End = start, end
}

func (e *explorer) visitorView(p org.Permission) telemetry.View { return e.visitor.View(p) }

// stop says that there is nothing to read for.
func (e *explorer) stop() bool {
	if len(e.page.Errors) > 0 {
		e.status = http.StatusUnprocessableEntity
	}
	return e.page.Refused != "" || len(e.page.Errors) > 0 || e.page.Problem != ""
}

// explain puts an error on the page, beside the query where that is what is
// wrong. It returns what is not for the page.
func (e *explorer) explain(what string, err error) error {
	if err == nil {
		return nil
	}
	if ctx := e.r.Context(); ctx.Err() != nil {
		return err
	}
	if q, ok := errors.AsType[*telemetry.QueryError](err); ok {
		e.page.Errors["query"] = upperFirst(strings.TrimSuffix(q.Problem, ".")) + "."
		if q.Offset >= 0 && q.Offset <= len(e.page.Query) {
			e.page.Mistake = mistakeAt(e.page.Query, q.Offset)
			e.page.Errors["query"] = fmt.Sprintf("%s, at character %d.", strings.TrimSuffix(e.page.Errors["query"], "."), utf8.RuneCountInString(e.page.Mistake.Before)+1)
		}
		e.status = http.StatusUnprocessableEntity
		return nil
	}
	text, known := tools.Problem(err)
	switch {
	case known:
		e.page.Problem, e.status = text, http.StatusTooManyRequests
	case errors.Is(err, telemetry.ErrUnavailable):
		e.page.Problem, e.status = what+" are temporarily unavailable: the engine is restarting or busy. Try again in a few seconds.", http.StatusServiceUnavailable
	case errors.Is(err, telemetry.ErrTooExpensive):
		e.page.Problem, e.status = "This needs more time or memory than one page may use. Take a shorter time, choose a service, or write a simpler query.", http.StatusUnprocessableEntity
	default:
		return fmt.Errorf("explore: %w", err)
	}
	return nil
}

// link is the address of a page of Explore with the time of this one, unless
// values say another; "" takes a value away.
func (e *explorer) link(path string, values ...string) string {
	q := url.Values{"from": {e.page.From}, "to": {e.page.To}}
	for i := 0; i+1 < len(values); i += 2 {
		if q.Del(values[i]); values[i+1] != "" {
			q.Set(values[i], values[i+1])
		}
	}
	address := "/teams/" + e.page.Nav.Slug + "/explore" + path
	if len(q) > 0 {
		address += "?" + q.Encode()
	}
	return address
}

// exactTime is a time as links have it.
func exactTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// options makes a list to choose from, with what is chosen in it.
func options(chosen string, list ...web.ExploreOption) []web.ExploreOption {
	if !slices.ContainsFunc(list, func(o web.ExploreOption) bool { return o.Value == chosen }) {
		list = append(list, web.ExploreOption{Value: chosen, Text: chosen})
	}
	for i := range list {
		list[i].Selected = list[i].Value == chosen
	}
	return list
}

// exploreFields are the fields of a row as a page shows them. pick says
// whether their values can be searched for.
func (e *explorer) exploreFields(fields []telemetry.Field, pick bool, show func(name string) bool) []web.ExploreField {
	var out []web.ExploreField
	for _, f := range fields {
		if f.Value == "" || !show(f.Name) {
			continue
		}
		field := web.ExploreField{Name: f.Name, Value: cutValue(f.Value)}
		if pick && len(f.Name)+len(f.Value) <= maxPickBytes && utf8.ValidString(f.Name+f.Value) {
			field.Pick = fmt.Sprintf("%d:%s=%s", len(f.Name), f.Name, f.Value)
		}
		out = append(out, field)
	}
	return out
}

func cutValue(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if r := []rune(s); len(r) > maxExploreValue {
		return string(r[:maxExploreValue]) + fmt.Sprintf("… (%d more characters)", len(r)-maxExploreValue)
	}
	return s
}

// picked returns the query with a value picked from a row added to it, ok where
// one was.
func (e *explorer) picked() (query string, ok bool) {
	pick, not := e.form.Get("only"), ""
	if pick == "" {
		pick, not = e.form.Get("not"), "!"
	}
	size, rest, found := strings.Cut(pick, ":")
	var n int
	if _, err := fmt.Sscanf(size, "%d", &n); !found || err != nil || n < 1 || n >= len(rest) || rest[n] != '=' {
		return "", false
	}
	condition := not + tools.FieldIs(rest[:n], rest[n+1:])
	switch query := e.page.Query; {
	case query == "" || query == "*":
		return condition, true
	case strings.Contains(strings.ToLower(query), " or "):
		return "(" + query + ") " + condition, true
	default:
		return query + " " + condition, true
	}
}
