package telemetry

import (
	"errors"
	"strconv"
	"strings"
	"testing"
)

func resource(kv ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(kv); i += 2 {
			if kv[i] == name {
				return kv[i+1]
			}
		}
		return ""
	}
}

func TestParseFilter(t *testing.T) {
	tests := []struct{ text, canonical string }{
		{`service.name=checkout`, `service.name = "checkout"`},
		{`service.name IN (a,"b c",a)`, `service.name in ("a", "b c")`},
		{`service.name in ("a")`, `service.name = "a"`},
		{`not service.name = a`, `service.name != "a"`},
		{`not not a = b`, `a = "b"`},
		{`NOT (a in (b, c))`, `not (a in ("b", "c"))`},
		{`a=1 or b=2 and c=3`, `a = "1" or b = "2" and c = "3"`},
		{`(a=1 or b=2) and c=3`, `(a = "1" or b = "2") and c = "3"`},
		{`((a=1)) and ((b=2 and c=3))`, `a = "1" and b = "2" and c = "3"`},
		{`"and" = or`, `"and" = "or"`},
		{`"ключ й" != "зна\"чение"`, `"ключ й" != "зна\"чение"`},
		{`url = http://a/b-c_d:80`, `url = "http://a/b-c_d:80"`},
		{"a\n=\tb", `a = "b"`},
	}
	for _, tt := range tests {
		f, err := ParseFilter(tt.text)
		if err != nil {
			t.Errorf("ParseFilter(%q): %v", tt.text, err)
			continue
		}
		if f.String() != tt.canonical {
			t.Errorf("ParseFilter(%q) = %q, want %q", tt.text, f, tt.canonical)
		}
	}
}

func TestParseFilterErrors(t *testing.T) {
	var many []string
	for i := range maxFilterConditions + 1 {
		many = append(many, strconv.Itoa(i))
	}
	tests := []struct {
		text    string
		offset  int
		problem string
	}{
		{``, 0, "empty"},
		{`  `, 2, "empty"},
		{`service.name`, 12, "expected =, != or in"},
		{`a = `, 4, "expected a value"},
		{`a = ""`, 4, "must not be empty"},
		{`"" = a`, 0, "must not be empty"},
		{`a = "b`, 4, "not closed"},
		{`a = "\q"`, 4, "not closed"},
		{`a = "\xff"`, 4, "UTF-8"},
		{`a = b c = d`, 6, "expected and, or"},
		{`(a = b`, 6, "closing parenthesis"},
		{`a = b)`, 5, "expected and, or"},
		{`a in b`, 5, "values of in"},
		{`a in ()`, 6, "expected a value"},
		{`a in (b c)`, 8, "comma"},
		{`and = b`, 0, "expected a condition"},
		{`a ~ b`, 2, "double quotes"},
		{`a = b or`, 8, "expected a condition"},
		{strings.Repeat("(", 40) + "a = b" + strings.Repeat(")", 40), 33, "nested"},
		{strings.Repeat("not ", 40) + "a = b", 132, "nested"},
		{"a in (" + strings.Join(many, ",") + ")", -1, "more than 256 values"},
		{"a = " + strings.Repeat("x", maxFilterBytes), maxFilterBytes, "longer than"},
		{"a = \"" + strings.Repeat("\u0080", 2040) + "\"", -1, "when its values are quoted"},
	}
	for _, tt := range tests {
		f, err := ParseFilter(tt.text)
		fe, ok := errors.AsType[*FilterError](err)
		if !ok {
			t.Errorf("ParseFilter(%.60q) = %v, %v; want a *FilterError", tt.text, f, err)
			continue
		}
		if !strings.Contains(fe.Problem, tt.problem) || tt.offset >= 0 && fe.Offset != tt.offset {
			t.Errorf("ParseFilter(%.60q): %v; want %q at %d", tt.text, err, tt.problem, tt.offset)
		}
	}
}

func TestFilterMatch(t *testing.T) {
	prod := resource("service.name", "checkout", "env", "prod")
	none := resource()
	tests := []struct {
		text       string
		prod, none bool
	}{
		{`service.name = checkout`, true, false},
		{`service.name = Checkout`, false, false},
		{`service.name != checkout`, false, true},
		{`service.name != cart`, true, true},
		{`service.name in (cart, checkout)`, true, false},
		{`not (service.name in (cart, checkout))`, false, true},
		{`env = prod and service.name = cart`, false, false},
		{`env = prod or service.name = cart`, true, false},
		{`env = prod and not service.name = cart`, true, false},
		{`not (env = prod and service.name = checkout)`, false, true},
	}
	for _, tt := range tests {
		f, err := ParseFilter(tt.text)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Match(prod); got != tt.prod {
			t.Errorf("%q matches prod: %v", tt.text, got)
		}
		if got := f.Match(none); got != tt.none {
			t.Errorf("%q matches an empty resource: %v", tt.text, got)
		}
	}
	if (&Filter{}).Match(prod) {
		t.Error("the zero filter matches")
	}
}

func TestUnion(t *testing.T) {
	a, _ := ParseFilter(`service.name = a`)
	b, _ := ParseFilter(`service.name = b and env = prod or env = test`)
	if got := Union(a, nil, b); got != nil {
		t.Errorf("a union with no restriction = %q, want nil", got)
	}
	if got := Union(); got == nil || got.Match(resource("service.name", "a")) {
		t.Errorf("the union of nothing = %v, want a filter that matches nothing", got)
	}
	if got := Union(&Filter{}, a).String(); got != a.String() {
		t.Errorf("a union with the zero filter = %q", got)
	}
	if got := Union(a, a).String(); got != a.String() {
		t.Errorf("a union with itself = %q", got)
	}
	u := Union(a, b)
	want := `service.name = "a" or service.name = "b" and env = "prod" or env = "test"`
	if u.String() != want {
		t.Errorf("union = %q, want %q", u, want)
	}
	back, err := ParseFilter(u.String())
	if err != nil || back.String() != want {
		t.Errorf("the union parses to %v, %v", back, err)
	}
}

// FuzzParseFilter holds that canonical text is a fixed point and means what
// the original text means.
func FuzzParseFilter(f *testing.F) {
	for _, s := range []string{
		`service.name in ("a", "b")`, `a != b and not (c = d or "e f" = "\u00e9")`,
		`not not a=b`, `((a=1 or b=2) and c in (x,y)) or d!=e`, `a="\x00"`, `in in (in)`, `a = "\xff"`,
	} {
		f.Add(s)
	}
	probes := []func(string) string{
		resource(), resource("a", "b"), resource("a", "1", "c", "x"), resource("c", "d"), resource("b", "2", "d", "e"),
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := ParseFilter(text)
		if err != nil {
			fe, ok := errors.AsType[*FilterError](err)
			if !ok || fe.Offset < 0 || fe.Offset > len(text) {
				t.Fatalf("error %#v", err)
			}
			return
		}
		again, err := ParseFilter(parsed.String())
		if err != nil {
			t.Fatalf("canonical text %q of %q: %v", parsed, text, err)
		}
		if again.String() != parsed.String() {
			t.Fatalf("canonical text %q became %q", parsed, again)
		}
		for _, p := range probes {
			if parsed.Match(p) != again.Match(p) {
				t.Fatalf("%q and its canonical text %q differ", text, parsed)
			}
		}
	})
}
