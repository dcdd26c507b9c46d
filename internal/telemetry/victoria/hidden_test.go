package victoria

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

// markHidden is in the values of hidden fields, and in nothing else.
const markHidden = "markhidden"

// probes ask about a field, whose quoted name is put in for each %s. About one
// that is hidden they must find out what they would about one that does not
// exist.
var probes = []string{
	`%s:markhidden*`, `%s:*`, `!%s:*`, `%s:""`, `%s:!""`, `%s:~"mark.*"`, `%s:="markhidden-1"`, `%s:=markhidden*`, `%s:in(markhidden-1, markhidden-2)`,
	`%s:contains_any(markhidden)`, `%s:contains_all(markhidden)`, `%s:>a`, `%s:<z`, `%s:range(0, 9)`, `%s:len_range(1, 100)`, `%s:string_range(a, z)`,
	`%s:i(MARKHIDDEN*)`, `%s:seq(mark)`, `%s:value_type:string`, `%s:ipv4_range("0.0.0.0", "255.255.255.255")`, `%s:pattern_match("markhidden-<N>")`,
	`%s:eq_field(plain)`, `plain:eq_field(%s)`, `%s:le_field(plain)`, `plain:le_field(%s)`, `%s:lt_field(plain)`, `%s:json_array_contains_any(markhidden)`,
	`* | filter %s:*`, `* | filter !%s:*`, `* | where %s:~mark`, `* | fields %s`, `* | delete %s`, `* | copy %s as x`, `* | rename %s as x`,
	`* | stats by (%s) count() n`, `* | stats count(%s) n`, `* | stats count_uniq(%s) n`, `* | stats count_empty(%s) n`, `* | stats values(%s) v`,
	`* | stats uniq_values(%s) v`, `* | stats min(%s) v`, `* | stats max(%s) v`, `* | stats sum_len(%s) v`, `* | stats any(%s) v`, `* | stats row_max(%s) v`,
	`* | stats field_max(%s, plain) v`, `* | stats json_values(%s) v`, `* | stats count() if (%s:*) n`, `* | stats histogram(%s) h`, `* | stats quantile(0.5, %s) q`,
	`* | uniq by (%s)`, `* | top 5 by (%s)`, `* | field_values %s`, `* | sort by (%s)`, `* | first 3 by (%s)`, `* | last 3 by (%s)`,
	`* | sort by (plain) partition by (%s) limit 1`, `* | extract "mark<x>" from %s`, `* | extract_regexp "(?P<x>.+)" from %s`, `* | format "<%s>" as x`,
	`* | len(%s) as l`, `* | hash(%s) as h`, `* | replace ("mark", "x") at %s`, `* | replace_regexp ("m(.*)", "$1") at %s`, `* | pack_json fields (%s) as x`,
	`* | unpack_json from %s`, `* | unpack_logfmt from %s`, `* | unpack_words from %s as w`, `* | unroll by (%s)`, `* | split "-" from %s as w`, `* | math %s + 1 as x`,
	`* | collapse_nums at %s`, `* | decolorize %s`, `* | json_array_len(%s) as l`, `* | running_stats max(%s) v`,
	`trace_id:in(%s:* | fields trace_id)`, `plain:in(* | fields %s)`, `* | join by (trace_id) (%s:* | limit 100)`, `* | join by (%s) (* | limit 100)`,
	`* | union (%s:*)`, `* | union (* | stats by (%s) count() n)`,
}

// looks show whatever fields there are.
var looks = []string{
	`*`, `markhidden`, `*:markhidden*`, `use*:markhidden*`, `user.*:markhidden*`, `*:~"markhidden.*"`, `user*:*`, `* | fields *`, `* | fields user*`, `* | fields user.*`, `* | fields user.e*`,
	`* | drop_empty_fields | field_names`, `* | facets`, `* | facets keep_const_fields`, `* | pack_json as x`, `* | pack_json as x | fields x`, `* | pack_json fields (user*) as x`,
	`* | pack_json fields (*) as x`, `* | pack_json fields (resource_attr*) as x`, `* | stats json_values() v`, `* | stats row_any() v`, `* | stats values(*) v`, `* | stats uniq_values(*) v`, `* | stats uniq_values(user*) v`,
	`* | stats count_uniq(*) n`, `* | stats row_max(_time) v`, `* | uniq by (_stream)`, `* | copy _stream as x`, `* | copy _s* as x*`, `* | fields _stream*`, `* | uniq by (_stream_id)`, `* | stats by (_stream) count() n`,
	`_stream:~markhidden`, `{"resource_attr:host.name"="markhidden-host"}`, `{"resource_attr:host.name"=~"mark.*"}`, `_stream:{"resource_attr:host.name"="markhidden-host"}`, `plain:eq_field(_stream)`,
	`* | format "<_stream>" as x`, `* | extract "host.name=<x>}" from _stream`, `* | copy user* as other*`, `* | rename user* as other*`, `* | rename resource_attr:* as *`, `* | copy resource_attr:* as mine*`, `* | delete plain`,
	`* | union (*)`, `* | join by (trace_id) (* | limit 100) prefix joined`, `* | collapse_nums`, `* | sample 1`, `* | unroll by (plain)`, `* | first 3 by (plain)`, `* | replace ("mark", "x")`,
}

func TestHiddenFieldsDoNotExist(t *testing.T) {
	c, tenant := engine(t)
	now := time.Now()
	var batch []telemetry.LogRecord
	for i := range 10 {
		secret := fmt.Sprintf("%s-%d", markHidden, i)
		r := telemetry.LogRecord{
			Time: now.Add(-time.Minute).Add(time.Duration(i) * time.Millisecond), Message: fmt.Sprintf("row %d", i), TraceID: fmt.Sprintf("%032x", i),
			Resource: attrs("service.name", "checkout", "host.name", markHidden+"-host", "customer.tier", secret, "tier", "gold"),
			Attributes: attrs("plain", fmt.Sprint("value", i%3), "user.name", "visible", "user.email", secret, "user.email.domain", secret, "customer.id", secret,
				"host.name", secret, "resource_attr:user.email", secret, "attr:user.email", secret, "resource_attr:host.name", secret),
		}
		if i >= 5 { // rows on which the fields are missing, in blocks of their own
			r.Resource, r.Attributes = attrs("service.name", "cart", "tier", "silver"), attrs("plain", "other", "user.name", "visible")
		}
		batch = append(batch, r)
	}
	write(t, c, tenant, batch...)
	hidden, err := telemetry.ParseHiddenFields([]string{"user.email", "resource_attr:host.name", " customer ", ""})
	if err != nil {
		t.Fatal(err)
	}
	scope := func(text string) *telemetry.Filter {
		f, err := telemetry.ParseFilter(text)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	ask := func(view telemetry.View, text string) (string, error) {
		t.Helper()
		r, err := c.QueryLogs(t.Context(), view, lastHour(text), telemetry.Budget{})
		if err != nil {
			if _, ok := errors.AsType[*telemetry.QueryError](err); !ok {
				t.Errorf("%q: %v", text, err)
			}
			return "", err
		}
		var lines []string
		for _, row := range r.Rows {
			for _, f := range row.Fields {
				if strings.Contains(f.Name+f.Value, markHidden) {
					t.Errorf("%q shows %s=%s", text, f.Name, f.Value)
				}
				if telemetry.Hides(hidden, f.Name) {
					t.Errorf("%q shows the field %s", text, f.Name)
				}
				for _, name := range []string{"user.email", "host.name", "customer"} {
					if strings.Contains(f.Value, name) && !strings.Contains(text, name) {
						t.Errorf("%q names a hidden field in %s=%.200s", text, f.Name, f.Value)
					}
				}
			}
			lines = append(lines, fmt.Sprint(row.Fields))
		}
		slices.Sort(lines)
		return strings.Join(lines, "\n"), nil
	}
	views := map[string]telemetry.View{
		"hidden":           telemetry.NewView(tenant, telemetry.Restriction{Hidden: hidden}),
		"hidden and scope": telemetry.NewView(tenant, telemetry.Restriction{Hidden: hidden, Filter: scope(`tier != platinum`), LookBack: time.Hour}),
	}
	var ran, refused int
	for name, view := range views {
		t.Run(name, func(t *testing.T) {
			for _, probe := range probes {
				for _, field := range []string{"user.email", "resource_attr:user.email", "host.name", "resource_attr:host.name", "attr:host.name", "customer.tier", "customer.id", "user.email.domain", "resource_attr:customer.tier"} {
					unknown := strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(field, "user.email", "user.nosuch"), "host.name", "host.none"), "customer", "nobodies")
					got, err := ask(view, strings.ReplaceAll(probe, "%s", quote(field)))
					want, wantErr := ask(view, strings.ReplaceAll(probe, "%s", quote(unknown)))
					if (err == nil) != (wantErr == nil) {
						t.Errorf("%s of %s: %v, of an unknown field: %v", probe, field, err, wantErr)
					}
					if err != nil {
						refused++
						continue
					}
					ran++
					if want = strings.ReplaceAll(want, unknown, field); strip(got, field) != strip(want, field) {
						t.Errorf("%s of %s answers\n%s\nof an unknown field\n%s", probe, field, got, want)
					}
				}
			}
			for _, text := range slices.Concat(looks, attacks) {
				if _, err := ask(view, text); err != nil {
					refused++
				} else {
					ran++
				}
			}
		})
	}
	t.Logf("%d queries ran, %d were refused", ran, refused)
	if ran < 1000 {
		t.Errorf("only %d queries ran: too much is refused to test anything", ran)
	}

	// The marks are there to be found, and the other fields still are.
	if r, err := c.QueryLogs(t.Context(), whole(tenant), lastHour(`"user.email":markhidden*`), telemetry.Budget{}); err != nil || len(r.Rows) != 5 {
		t.Errorf("the whole tenant shows %d rows, %v", len(r.Rows), err)
	}
	r, err := c.QueryLogs(t.Context(), views["hidden"], lastHour(`tier:=gold`), telemetry.Budget{})
	if err != nil || len(r.Rows) != 5 || r.Rows[0].Get("user.name") != "visible" || r.Rows[0].Get("plain") == "" || r.Rows[0].Get("_msg") == "" {
		t.Errorf("%+v, %v", r, err)
	}

	// What a stream is called would tell who is behind a hidden host.name.
	for _, text := range []string{
		`{"resource_attr:host.name"="markhidden-host"}`, `_stream:{"resource_attr:host.name"=~"mark.*"}`, `!{"resource_attr:host.name"="x"}`, `_stream_id:in(* | fields _stream_id)`,
		`* | filter {"resource_attr:host.name"="markhidden-host"}`, `trace_id:in({"resource_attr:host.name"="markhidden-host"} | fields trace_id)`, `* | union ({"resource_attr:host.name"="markhidden-host"})`,
		`* | stats count() if ({"resource_attr:host.name"="markhidden-host"}) n`, `plain:eq_field(_stream)`, `* | fields _stream`,
	} {
		if r, err := c.QueryLogs(t.Context(), views["hidden"], lastHour(text), telemetry.Budget{}); err == nil {
			t.Errorf("%s answers %v", text, r.Rows)
		}
	}
	// A scope that goes by a hidden field cannot be applied: it shows nothing.
	for _, text := range []string{`customer.tier != none`, `not (host.name = other)`, `tier = gold and customer.tier != x`} {
		view := telemetry.NewView(tenant, telemetry.Restriction{Hidden: hidden, Filter: scope(text)})
		if r, err := c.QueryLogs(t.Context(), view, lastHour("*"), telemetry.Budget{}); err != nil || len(r.Rows) != 0 {
			t.Errorf("scope %s on a hidden field shows %d rows, %v", text, len(r.Rows), err)
		}
	}
	// The message can be hidden as well.
	noMessage := telemetry.NewView(tenant, telemetry.Restriction{Hidden: []string{telemetry.FieldMessage}})
	for _, text := range []string{`*`, `row`, `_msg:*`, `* | copy _msg as x`, `* | stats values(_msg) v`, `* | pack_json as x`, `* | extract "row <x>"`, `row*`} {
		r, err := c.QueryLogs(t.Context(), noMessage, lastHour(text), telemetry.Budget{})
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if s := fmt.Sprint(r.Rows); strings.Contains(s, "row ") {
			t.Errorf("%s shows messages: %s", text, s)
		}
	}
}

// strip removes a field that a query made with that name: results do not show
// a name that is hidden, made or not.
func strip(lines, field string) string {
	var out []string
	for line := range strings.Lines(lines) {
		var kept []string
		for _, f := range strings.Split(strings.Trim(strings.TrimSpace(line), "[]"), "} {") {
			f = strings.Trim(f, "{}")
			if name, _, _ := strings.Cut(f, " "); name != field && !strings.Contains(f, "("+field+")") && !strings.Contains(f, `"`+field+`"`) {
				kept = append(kept, f)
			}
		}
		out = append(out, strings.Join(kept, "|"))
	}
	return strings.Join(out, "\n")
}

func TestScopeAroundHiddenAttributesOfThePrefix(t *testing.T) {
	for name, want := range map[string]bool{
		"user": true, "user.email": true, "attr:user": true, "resource_attr:user.x": true, "attr:resource_attr:user": true,
		"username": false, "": false, "x.user": false, "User": false,
	} {
		if telemetry.Hides([]string{"user"}, name) != want {
			t.Errorf("%q", name)
		}
	}
	for _, bad := range []string{"_time", "_stream", "a*", "a,b", "a\x00b", `a"b`, strings.Repeat("x", 115)} {
		if _, err := telemetry.ParseHiddenFields([]string{bad}); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// Spans keep attributes under more names than logs do.
func TestHiddenFieldsOfSpans(t *testing.T) {
	c, tenant := engine(t)
	end := time.Now().Add(-time.Minute)
	writeSpans(t, c, tenant, telemetry.SpanRecord{
		TraceID: "0af7651916cd43dd8448eb211c80319c", SpanID: "b7ad6b7169203331", Name: "GET /", Start: end, End: end,
		Resource: attrs("service.name", "checkout", "user.email", markHidden), Scope: attrs("user.email", markHidden),
		Attributes: attrs("user.email", markHidden, "user.email.domain", markHidden, "span_attr:user.email", markHidden, "user.name", "visible"),
		Status:     telemetry.StatusError, StatusMessage: markHidden,
		Events: []telemetry.SpanEvent{{Time: end, Name: "seen", Attributes: attrs("user.email", markHidden, "user.email.domain", markHidden, "user.name", "visible")}},
		Links:  []telemetry.SpanLink{{TraceID: "1", SpanID: "2", Attributes: attrs("user.email", markHidden)}},
	})
	hidden, err := telemetry.ParseHiddenFields([]string{"user.email", "_msg"})
	if err != nil {
		t.Fatal(err)
	}
	view := telemetry.NewView(tenant, telemetry.Restriction{Hidden: hidden})
	queries := slices.Concat(looks, attacks)
	for _, name := range []string{
		"resource_attr:user.email", "scope_attr:user.email", "span_attr:user.email", "span_attr:user.email.domain", "span_attr:span_attr:user.email",
		"event:event_attr:user.email:0", "event:event_attr:user.email.domain:0", "link:link_attr:user.email:0", "status_message",
	} {
		queries = append(queries, quote(name)+`:*`, `* | stats by (`+quote(name)+`) count() n | filter `+quote(name)+`:*`)
	}
	ran := 0
	for i, text := range queries {
		r, err := c.QuerySpans(t.Context(), view, spansOf(text), telemetry.Budget{})
		if err != nil {
			continue
		}
		ran++
		if i >= len(looks)+len(attacks) && len(r.Rows) > 0 {
			t.Errorf("%q finds %v", text, r.Rows)
		}
		for _, row := range r.Rows {
			for _, f := range row.Fields {
				if strings.Contains(f.Name+f.Value, markHidden) {
					t.Errorf("%q shows %s=%s", text, f.Name, f.Value)
				}
			}
		}
	}
	if ran < 60 {
		t.Errorf("only %d queries ran", ran)
	}
	r, err := c.QuerySpans(t.Context(), view, spansOf(`"span_attr:user.name":=visible "event:event_attr:user.name:0":=visible`), telemetry.Budget{})
	if err != nil || len(r.Rows) != 1 || r.Rows[0].Get("event:event_name:0") != "seen" {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := c.QuerySpans(t.Context(), whole(tenant), spansOf(`status_message:markhidden`), telemetry.Budget{}); err != nil || len(r.Rows) != 1 {
		t.Errorf("the whole tenant: %+v, %v", r, err)
	}
}
