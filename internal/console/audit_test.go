package console_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
)

func TestAuditIsForOwners(t *testing.T) {
	h := newHouse(t)
	h.addPerson("Grace", true)
	ada := h.addPerson("Ada", false)
	h.addTeam("web-shop", "Web Shop", ada, "admin")
	for _, path := range []string{"/audit", "/audit/export?format=csv"} {
		h.browser(ada).get(path).expect(t, 403, "Only an owner")
	}
	h.browser(ada).get("/").expectNot(t, `href="/audit"`)
}

func TestAudit(t *testing.T) {
	h := newHouse(t)
	grace, ada := h.addPerson("Grace", true), h.addPerson("Ada", false)
	team := h.addTeam("web-shop", "Web Shop", ada, "viewer")
	b := h.browser(grace)
	b.get("/").expect(t, 200, `href="/audit"`)
	h.now = h.now.AddDate(0, 0, 1)
	hostile := h.cursor()
	hostile.Metadata.Name = `=HYPERLINK("https://evil.example")<script>`
	h.connect(ada, team, hostile)
	b = h.browser(grace)

	a := b.get("/audit")
	a.expect(t, 200, "grant.redeemed", "grant.approved", "member.set", "2026-11-24 14:20:00", "&lt;script&gt;")
	if strings.Index(a.body, "grant.redeemed") > strings.Index(a.body, "person.created") {
		t.Error("the oldest are first")
	}
	b.get("/audit?text=grant.APPROVED").expect(t, 200, "<code>grant.approved</code>", "Show everything")
	b.get("/audit?text=grant.APPROVED").expectNot(t, "<code>member.set</code>")
	b.get("/audit?text="+url.QueryEscape("100%_")).expect(t, 200, "No entry matches.")
	b.get("/audit?from=2026-11-24").expectNot(t, "<code>member.set</code>")
	b.get("/audit?to=2026-11-23").expectNot(t, "<code>grant.approved</code>")
	b.get("/audit?from=2026-11-23&to=2026-11-24").expect(t, 200, "<code>member.set</code>", "<code>grant.approved</code>")
	b.get("/audit?email=ADA%40example.com&text=approved").expect(t, 200, "<code>grant.approved</code>")
	b.get("/audit?email=ada").expect(t, 422, "Write the whole address", `value="ada"`)
	b.get("/audit?from=yesterday").expect(t, 422, "Write the day like")
	b.get("/audit?from=2026-11-24&to=2026-11-23").expect(t, 422, "before the first one")

	rows, err := csv.NewReader(strings.NewReader(b.get("/audit/export?format=csv&text=grant.").body)).ReadAll()
	if err != nil || len(rows) != 3 || rows[0][0] != "seq" {
		t.Fatalf("%v: %q", err, rows)
	}
	for _, r := range rows {
		for _, cell := range r {
			if strings.HasPrefix(cell, "=") {
				t.Errorf("a formula: %q", cell)
			}
		}
	}
	for line := range strings.Lines(b.get("/audit/export?format=jsonl").body) {
		var e struct {
			At   time.Time
			Kind string
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Kind == "" || e.At.IsZero() {
			t.Errorf("%s: %v", line, err)
		}
	}
	b.get("/audit/export?format=xml").expect(t, 400, "either csv or jsonl")
}

// Every entry is on exactly one page.
func TestAuditPages(t *testing.T) {
	h := newHouse(t)
	grace := h.addPerson("Grace", true)
	for i := range 250 {
		if _, err := h.directory.AddTeam(t.Context(), fmt.Sprintf("t-%d", i), "T", audit.System()); err != nil {
			t.Fatal(err)
		}
	}
	b := h.browser(grace)
	older := regexp.MustCompile(`<a class="button" href="(/audit\?[^"]+)">Older`)
	slugs := regexp.MustCompile(`<bdi>(t-\d+)</bdi></td>`)
	seen, next, pages := make(map[string]int), "/audit?text=team.created", 0
	for next != "" {
		pages++
		a := b.get(next)
		for _, m := range slugs.FindAllStringSubmatch(a.body, -1) {
			seen[m[1]]++
		}
		next = ""
		if m := older.FindStringSubmatch(a.body); m != nil {
			next = strings.ReplaceAll(m[1], "&amp;", "&")
		}
	}
	for slug, n := range seen {
		if n != 1 {
			t.Errorf("%s is there %d times", slug, n)
		}
	}
	if len(seen) != 250 || pages != 3 {
		t.Errorf("%d entries on %d pages", len(seen), pages)
	}
}
