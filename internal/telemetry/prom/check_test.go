package prom

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/orielhq/oriel/internal/telemetry"
)

func TestCheck(t *testing.T) {
	for text, want := range map[string]string{
		`up`:                          `vector [{__name__="up"} 5m0s []]`,
		`1 + 1`:                       `scalar []`,
		`x[5m]`:                       `matrix [{__name__="x"} 5m0s []]`,
		`rate(x{a="b", c!~"d"}[20m])`: `vector [{__name__="x", a="b", c!~"d"} 20m0s [rate]]`,
		`sum by (a) (rate(x[1m] offset 1h)) / on (b) y > 2`:         `vector [{__name__="x"} 1h5m0s [rate sum] {__name__="y"} 5m0s []] by [b a] compares joins`,
		`max_over_time(x[1h:1m]) == bool 1`:                         `vector [{__name__="x"} 1h5m0s [max_over_time]]`,
		`histogram_quantile(0.9, sum by (a) (rate(x_bucket[5m])))`:  `vector [{__name__="x_bucket"} 5m0s [rate sum histogram_quantile] drops le] by [a]`,
		`histogram_quantile(0.9, sum by (le) (rate(x_bucket[5m])))`: `vector [{__name__="x_bucket"} 5m0s [rate sum histogram_quantile]] by [le]`,
		`histogram_quantile(0.9, sum without (le) (x_bucket))`:      `vector [{__name__="x_bucket"} 5m0s [sum histogram_quantile] drops le] by [le]`,
		`histogram_quantile(0.9, topk(3, x_bucket))`:                `vector [{__name__="x_bucket"} 5m0s [topk histogram_quantile]]`,
		`sum by (a) (histogram_quantile(0.9, rate(x_bucket[5m])))`:  `vector [{__name__="x_bucket"} 5m0s [rate histogram_quantile sum]] by [a]`,
		`{__name__=~"x.*", "a.b"="c"} or {"d.e"}`:                   `vector [{__name__=~"x.*", "a.b"="c"} 5m0s [] {__name__="d.e"} 5m0s []]`,
	} {
		e, err := Check(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var list []string
		for _, s := range e.Selectors {
			one := fmt.Sprintf("%s %s %v", s, s.Reach, s.Within)
			if s.DropsLE {
				one += " drops le"
			}
			list = append(list, one)
			// The selector's text is PromQL for itself.
			again, err := Check(s.String())
			if err != nil || len(again.Selectors) != 1 || again.Selectors[0].String() != s.String() {
				t.Errorf("%s: %s is %+v, %v", text, s, again, err)
			}
		}
		got := e.Type + " [" + strings.Join(list, " ") + "]"
		if len(e.Grouping) > 0 {
			got += fmt.Sprintf(" by %v", e.Grouping)
		}
		if e.Compares {
			got += " compares"
		}
		if e.Joins {
			got += " joins"
		}
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", text, got, want)
		}
	}
	for text, offset := range map[string]int{`rat(x[5m])`: 0, `sum(x`: 5, `x{a.b="c"}`: 3, strings.Repeat("(", 200): -1, strings.Repeat("x", 20<<10): -1} {
		_, err := Check(text)
		q, ok := errors.AsType[*telemetry.QueryError](err)
		if !ok || q.Offset != offset {
			t.Errorf("%.20s: %v", text, err)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{`up`, `sum by (le) (rate(x{a="b"}[5m] offset -1h))`, `{"a.b", c=~"d"}[5m:]`, `x @ end()`, "\xff", `{__name__="a", __name__="b"}`} {
		f.Add(s)
	}
	// What passes can be written down again: canonically, and selector by
	// selector.
	f.Fuzz(func(t *testing.T, text string) {
		e, err := Check(text)
		if err != nil {
			if _, ok := errors.AsType[*telemetry.QueryError](err); !ok {
				t.Fatal(err)
			}
			return
		}
		for _, s := range e.Selectors {
			if _, err := Check(s.String()); err != nil && !strings.Contains(err.Error(), "longer than") {
				t.Errorf("%q: %s: %v", text, s, err)
			}
		}
	})
}
