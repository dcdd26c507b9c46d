package console

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

// AuditLog is where the audit page reads. Events returns the newest so many
// entries that match, the oldest first.
type AuditLog interface {
	Events(ctx context.Context, f audit.Filter) ([]audit.Entry, error)
}

const (
	// auditPageSize is how many entries a page shows.
	auditPageSize = 100
	// exportBatch is how many entries an export reads at once.
	exportBatch = 5000
)

// auditFilter reads what was asked for. Errors are by the name of the field.
func auditFilter(q url.Values) (audit.Filter, map[string]string) {
	f := audit.Filter{Text: strings.TrimSpace(q.Get("text"))}
	errs := make(map[string]string)
	if text := strings.TrimSpace(q.Get("email")); text != "" {
		email, err := org.ParseEmail(text)
		if err != nil {
			errs["email"] = "Write the whole address, like ada@example.com; for a part of it use Text."
		}
		f.Email = email
	}
	day := func(name string) time.Time {
		text := q.Get(name)
		if text == "" {
			return time.Time{}
		}
		t, err := time.Parse(time.DateOnly, text)
		if err != nil {
			errs[name] = "Write the day like 2026-11-23."
		}
		return t
	}
	f.Since = day("from")
	if to := day("to"); !to.IsZero() {
		f.Until = to.AddDate(0, 0, 1)
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		errs["to"] = "This day is before the first one."
	}
	return f, errs
}

// auditQuery is what was asked for, to be asked again.
func auditQuery(q url.Values) url.Values {
	out := make(url.Values)
	for _, name := range []string{"text", "email", "from", "to"} {
		if v := strings.TrimSpace(q.Get(name)); v != "" {
			out.Set(name, v)
		}
	}
	return out
}

func (c *Console) auditLog(w http.ResponseWriter, r *http.Request, s login.Session) error {
	q := r.URL.Query()
	f, errs := auditFilter(q)
	again := auditQuery(q)
	page := web.AuditPage{
		Account: account(s), Text: q.Get("text"), Email: q.Get("email"), From: q.Get("from"), To: q.Get("to"),
		Errors: errs, Query: template.URL(again.Encode()), Filtered: len(again) > 0,
	}
	if len(errs) > 0 {
		return c.Site.Render(w, http.StatusUnprocessableEntity, page)
	}
	f.Before, _ = strconv.ParseInt(q.Get("before"), 10, 64) // what is no number asks for the newest
	f.Limit = auditPageSize + 1
	entries, err := c.Audit.Events(r.Context(), f)
	if err != nil {
		return err
	}
	if len(entries) > auditPageSize {
		entries = entries[1:]
		again.Set("before", strconv.FormatInt(entries[0].Seq, 10))
		page.Older = "/audit?" + again.Encode()
	}
	for i := len(entries) - 1; i >= 0; i-- {
		e := entries[i]
		page.Entries = append(page.Entries, web.AuditEntry{
			At: e.At, Who: cmp.Or(e.Who, string(e.Actor.Kind), "system"), Address: e.Actor.Address, Kind: string(e.Kind), Target: e.Target, Team: e.Team, Details: e.Detail,
		})
	}
	return c.Site.Render(w, http.StatusOK, page)
}

// exportAudit writes everything that matches as a file, the newest first.
func (c *Console) exportAudit(w http.ResponseWriter, r *http.Request, _ login.Session) error {
	q := r.URL.Query()
	f, errs := auditFilter(q)
	for _, problem := range errs {
		return &web.Error{Status: http.StatusUnprocessableEntity, Public: problem, Links: []web.Link{{Text: "Audit", URL: "/audit"}}}
	}
	format := q.Get("format")
	write, ok := map[string]func(io.Writer) func(audit.Entry) error{"csv": csvEntries, "jsonl": jsonEntries}[format]
	if !ok {
		return &web.Error{Status: http.StatusBadRequest, Public: "An export is either csv or jsonl.", Links: []web.Link{{Text: "Audit", URL: "/audit"}}}
	}
	h := w.Header()
	h.Set("Content-Type", map[string]string{"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl; charset=utf-8"}[format])
	h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="oriel-audit-%s.%s"`, c.Now().UTC().Format("20060102-150405"), format))
	h.Set("Cache-Control", "no-store")
	one := write(w)
	f.Limit = exportBatch
	for {
		entries, err := c.Audit.Events(r.Context(), f)
		if err != nil {
			return err
		}
		for i := len(entries) - 1; i >= 0; i-- {
			if err := one(entries[i]); err != nil {
				return fmt.Errorf("write export: %w", err)
			}
		}
		if len(entries) < exportBatch {
			return nil
		}
		f.Before = entries[0].Seq
	}
}

var csvHeader = []string{"seq", "at", "actor_kind", "actor_id", "who", "address", "kind", "target", "team", "detail"}

func csvEntries(w io.Writer) func(audit.Entry) error {
	out := csv.NewWriter(w)
	first := true
	return func(e audit.Entry) error {
		if first {
			first = false
			if err := out.Write(csvHeader); err != nil {
				return err
			}
		}
		row := []string{
			strconv.FormatInt(e.Seq, 10), e.At.UTC().Format(time.RFC3339Nano), string(e.Actor.Kind), e.Actor.ID, e.Who, e.Actor.Address,
			string(e.Kind), e.Target, e.Team, e.Detail,
		}
		for i := range row {
			row[i] = harmless(row[i])
		}
		if err := out.Write(row); err != nil {
			return err
		}
		out.Flush()
		return out.Error()
	}
}

// harmless keeps a spreadsheet from taking a text for a formula: strangers
// name the clients that the log speaks of.
func harmless(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

func jsonEntries(w io.Writer) func(audit.Entry) error {
	type actor struct {
		Kind    audit.ActorKind `json:"kind"`
		ID      string          `json:"id,omitempty"`
		Who     string          `json:"who,omitempty"`
		Address string          `json:"address,omitempty"`
	}
	out := json.NewEncoder(w)
	return func(e audit.Entry) error {
		return out.Encode(struct {
			Seq    int64      `json:"seq"`
			At     time.Time  `json:"at"`
			Actor  actor      `json:"actor"`
			Kind   audit.Kind `json:"kind"`
			Target string     `json:"target,omitempty"`
			Team   string     `json:"team,omitempty"`
			Detail string     `json:"detail,omitempty"`
		}{e.Seq, e.At.UTC(), actor{e.Actor.Kind, e.Actor.ID, e.Who, e.Actor.Address}, e.Kind, e.Target, e.Team, e.Detail})
	}
}
