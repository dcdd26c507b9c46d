package tools

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

// maxLinkBytes bounds the line that leads to the console: 60 tokens. It counts
// as part of the answer.
const maxLinkBytes = 60 * bytesPerToken

// link has the answer end with the address at which the console shows what it
// is about: a page of the team, its time, and what else the page is asked
// for, names and values by turns. Empty values are left out. The address holds
// what the caller said, never what telemetry did.
func (c *call) link(page string, w window, pairs ...string) {
	if c.set.ConsoleURL == "" {
		return
	}
	var query []string
	add := func(name, value string) {
		if value != "" {
			query = append(query, name+"="+linkEscaper.Replace(url.QueryEscape(value)))
		}
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		add(pairs[i], pairs[i+1])
	}
	if !w.start.IsZero() {
		add("from", linkTime(w.start))
		// Nothing of the window may be missing.
		add("to", linkTime(w.end.Add(time.Millisecond-1)))
	}
	c.console = "console: " + c.set.ConsoleURL + "/teams/" + c.caller.Team().Slug + page
	if len(query) > 0 {
		c.console += "?" + strings.Join(query, "&")
	}
	c.console += "\n"
	if len(c.console) <= maxLinkBytes {
		return
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] == "query" && pairs[i+1] != "" {
			c.link(page, w, append(append([]string(nil), pairs[:i]...), pairs[i+2:]...)...)
			if c.console != "" {
				c.console = strings.Replace(c.console, "console:", "console (without the query):", 1)
			}
			break
		}
	}
	if len(c.console) > maxLinkBytes {
		c.console = ""
	}
}

// linkEscaper leaves what a query may hold as it is (RFC 3986 §3.4): people
// read these addresses.
var linkEscaper = strings.NewReplacer("%3A", ":", "%2C", ",", "%2F", "/", "%2A", "*")

func linkTime(t time.Time) string {
	return t.UTC().Truncate(time.Millisecond).Format("2006-01-02T15:04:05.999Z")
}

// linkLogs links to the records of a question.
func (c *call) linkLogs(q logQuestion) {
	service, query := "", q.query
	switch {
	case len(q.services) == 1:
		service = q.services[0]
	case len(q.services) > 1 && q.pipes:
		return // no page asks that
	case len(q.services) > 1:
		quoted := make([]string, len(q.services))
		for i, s := range q.services {
			quoted[i] = strconv.Quote(s)
		}
		services := telemetry.FieldService + ":in(" + strings.Join(quoted, ",") + ")"
		if query == "" {
			query = services
		} else {
			query = services + " (" + query + ")"
		}
	}
	c.link("/explore", q.window, "query", query, "service", service, "severity", strings.ToLower(strings.Join(q.severity, ",")))
}

// contextReachShown is how much around a record the console shows.
const contextReachShown = time.Minute

// linkContext links to what was logged around a record, or where it was looked
// for.
func (c *call) linkContext(q logQuestion, anchor *telemetry.LogRow) {
	if anchor != nil {
		q.query, q.severity = "", nil
		q.window = window{start: anchor.Time.Add(-contextReachShown), end: anchor.Time.Add(contextReachShown)}
	}
	c.linkLogs(q)
}

// room is how many bytes the answer may have beside the link.
func (c *call) room() int { return c.maxTokens*bytesPerToken - len(c.console) }

// linked ends an answer with the link.
func (c *call) linked(r Result) Result {
	if r.IsError || r.Text == "" || c.console == "" {
		return r
	}
	if !strings.HasSuffix(r.Text, "\n") {
		r.Text += "\n"
	}
	r.Text += c.console
	return r
}
