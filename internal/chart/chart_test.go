package chart_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/chart"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// wave is a series with a gap and a missing value.
func wave(name string, n int, step time.Duration, phase, height float64) chart.Series {
	s := chart.Series{Name: name}
	for i := range n {
		v := height * (1.2 + math.Sin(phase+float64(i)/9))
		switch {
		case i > n/2 && i < n/2+5:
			continue
		case i == n/4:
			v = math.NaN()
		}
		s.Points = append(s.Points, chart.Point{Time: noon.Add(time.Duration(i) * step), Value: v})
	}
	return s
}

// looks are the charts that were looked at.
func looks() map[string]chart.Chart {
	lines := chart.Chart{
		Title: "histogram_quantile(0.99, sum by (le, service_name) (rate(http_server_duration_bucket[5m])))", Unit: "s",
		Series: []chart.Series{wave("checkout", 60, time.Minute, 0, 0.2), wave("cart", 60, time.Minute, 1, 0.35), wave("payments", 60, time.Minute, 2, 0.1)},
		Start:  noon, End: noon.Add(time.Hour),
	}
	many := chart.Chart{Title: "Memory", Unit: "By", Start: noon, End: noon.Add(7 * 24 * time.Hour)}
	for i := range chart.MaxSeries {
		many.Series = append(many.Series, wave(fmt.Sprintf(`process_memory_usage{service_name="service-%d", k8s_pod_name="service-%d-6d4cf56db6-x2x%d"}`, i, i, i), 170, time.Hour, float64(i), 1<<27))
	}
	stack := chart.Chart{Title: "Log records", Unit: "{record}", Kind: chart.StackedBars, Start: noon.Add(-17 * time.Minute), End: noon.Add(73 * time.Minute), Step: 2 * time.Minute}
	for i, tone := range []chart.Tone{chart.Calm, chart.Warning, chart.Danger} {
		s := wave([]string{"INFO", "WARN", "ERROR"}[i], 36, 2*time.Minute, float64(i), []float64{4000, 800, 300}[i])
		s.Tone = tone
		stack.Series = append(stack.Series, s)
	}
	bars := chart.Chart{Title: "Requests", Kind: chart.Bars, Series: []chart.Series{wave("a", 20, time.Minute, 0, 3), wave("b", 20, time.Minute, 2, 2)}}
	return map[string]chart.Chart{"lines": lines, "many": many, "stack": stack, "bars": bars, "empty": {Title: "Nothing", Start: noon, End: noon.Add(time.Hour), Series: []chart.Series{{Name: "gone"}}}, "zero": {}}
}

func TestChartsAreDrawn(t *testing.T) {
	for name, c := range looks() {
		for _, dark := range []bool{false, true} {
			c.Dark = dark
			body, err := c.PNG()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			img, err := png.Decode(bytes.NewReader(body))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got := img.Bounds().Size(); got != (image.Point{X: chart.DefaultWidth, Y: chart.DefaultHeight}) {
				t.Errorf("%s is of %v", name, got)
			}
			if y := color.GrayModel.Convert(img.At(1, 1)).(color.Gray).Y; (y < 60) != dark {
				t.Errorf("%s dark=%v has a background of brightness %d", name, dark, y)
			}
			svg, err := c.SVG()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			checkSVG(t, svg)
			for suffix, body := range map[string][]byte{".png": body, ".svg": svg} {
				if dark {
					suffix = "-dark" + suffix
				}
				// For people who want to look: go test -artifacts.
				if err := os.WriteFile(filepath.Join(t.ArtifactDir(), name+suffix), body, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// checkSVG returns the words of an SVG document and fails for one that is
// broken or holds anything but shapes and text.
func checkSVG(t testing.TB, svg []byte) string {
	t.Helper()
	var words strings.Builder
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return words.String()
		}
		if err != nil {
			t.Fatalf("the SVG is not XML: %v", err)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			switch tok.Name.Local {
			case "svg", "path", "text", "circle":
			default:
				t.Errorf("the SVG has an element %s", tok.Name.Local)
			}
			for _, a := range tok.Attr {
				switch a.Name.Local {
				case "xmlns", "xlink", "viewBox", "style", "d", "x", "y", "cx", "cy", "r", "stroke-dasharray":
				default:
					t.Errorf("the SVG has an attribute %s", a.Name.Local)
				}
				if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
					t.Errorf("%s=%q", a.Name.Local, a.Value)
				}
			}
		case xml.CharData:
			words.Write(tok)
			words.WriteByte('\n')
		}
	}
}

func TestNamesCannotInjectIntoSVG(t *testing.T) {
	const evil = `</text><script>alert(1)</script><a xlink:href="javascript:x" onclick='y'>&lt;` + "\x00\u202e]]>"
	c := looks()["lines"]
	c.Title, c.Unit, c.Series[0].Name = evil, evil, evil
	svg, err := c.SVG()
	if err != nil {
		t.Fatal(err)
	}
	if words := checkSVG(t, svg); !strings.Contains(words, "<script>") || strings.ContainsAny(words, "\x00\u202e") {
		t.Errorf("the words are not those of the names, cleaned: %q", words)
	}
}

func TestGapsAreNotDrawn(t *testing.T) {
	points := func(minutes ...int) (out []chart.Point) {
		for _, m := range minutes {
			out = append(out, chart.Point{Time: noon.Add(time.Duration(m) * time.Minute), Value: 1 + float64(m%3)})
		}
		return out
	}
	strokes := func(c chart.Chart) int {
		svg, err := c.SVG()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(svg), "stroke-width:2;stroke:")
	}
	whole := chart.Chart{Series: []chart.Series{{Name: "a", Points: points(0, 1, 2, 3, 4, 5)}}}
	if n := strokes(whole); n != 1 {
		t.Errorf("a line without gaps is drawn as %d", n)
	}
	gap := chart.Chart{Series: []chart.Series{{Name: "a", Points: points(0, 1, 4, 5)}}}
	if n := strokes(gap); n != 2 {
		t.Errorf("a line with a gap is drawn as %d", n)
	}
	whole.Series[0].Points[2].Value = math.NaN()
	if n := strokes(whole); n != 2 {
		t.Errorf("a line with a value that is no number is drawn as %d", n)
	}
}

func TestLimits(t *testing.T) {
	for name, c := range map[string]chart.Chart{
		"series": {Series: make([]chart.Series, chart.MaxSeries+1)},
		"points": {Series: []chart.Series{{Points: make([]chart.Point, chart.MaxPoints+1)}}},
		"width":  {Width: chart.MaxWidth + 1},
		"height": {Height: chart.MaxHeight + 1},
	} {
		if _, err := c.PNG(); !errors.Is(err, chart.ErrTooLarge) {
			t.Errorf("%s: %v, want ErrTooLarge", name, err)
		}
	}
	if _, err := (chart.Chart{Width: -5}).PNG(); err == nil {
		t.Error("a negative width is drawn")
	}
}

func TestFormatValue(t *testing.T) {
	for _, c := range []struct {
		v    float64
		unit string
		want string
	}{
		{0, "", "0"},
		{0, "s", "0 s"},
		{1, "", "1"},
		{0.25, "", "0.25"},
		{1234, "", "1.23k"},
		{2e6, "1", "2M"},
		{-1500, "", "-1.5k"},
		{999.99, "", "1k"},
		{0.0123, "s", "12.3 ms"},
		{90, "s", "1.5 min"},
		{250, "ms", "250 ms"},
		{1500, "ms", "1.5 s"},
		{3e-9, "s", "3 ns"},
		{1536, "By", "1.5 KiB"},
		{3 << 20, "bytes", "3 MiB"},
		{12.5, "%", "12.5 %"},
		{math.NaN(), "", "–"},
		{math.Inf(1), "s", "–"},
		{1e30, "", "1e+30"},
		{1e-12, "", "1e-12"},
		{123.456, "", "123"},
	} {
		if got := chart.FormatValue(c.v, c.unit); got != c.want {
			t.Errorf("FormatValue(%g, %q) = %q, want %q", c.v, c.unit, got, c.want)
		}
	}
}

func TestName(t *testing.T) {
	for in, want := range map[string]string{
		"": "(no name)", "a\n b\u202e\x00": "a b", "0123456789abcdef": "0123…cdef", "\xff": "\uFFFD",
	} {
		if got := chart.Name(in, 9); got != want {
			t.Errorf("Name(%q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzChart draws whatever there is: never a panic, always a valid document
// whose numbers are finite.
func FuzzChart(f *testing.F) {
	f.Add("name", "s", 1.0, 2.0, 3.0, int64(0), int64(60), int64(1), uint8(0), false)
	f.Add("", "", math.NaN(), math.Inf(1), math.Inf(-1), int64(0), int64(0), int64(0), uint8(2), true)
	f.Add("x", "By", math.MaxFloat64, -math.MaxFloat64, 0.0, int64(math.MinInt64), int64(math.MaxInt64), int64(-1), uint8(1), true)
	f.Add("x", "ns", math.SmallestNonzeroFloat64, 0.0, 1e-300, int64(1e9), int64(2e9), int64(1e9), uint8(0), false)
	f.Add("x", "%", 1e15, 1e15+1, 1e15+2, int64(1e9), int64(1e9), int64(1), uint8(2), false)
	f.Add("x", "giby", 1e299, 1e300, 1e300, int64(0), int64(1e18), int64(1), uint8(2), false)
	f.Fuzz(func(t *testing.T, name, unit string, a, b, c float64, start, end, step int64, kind uint8, dark bool) {
		ch := chart.Chart{
			Title: name, Unit: unit, Kind: chart.Kind(kind % 3), Dark: dark, Width: 300, Height: 200,
			Start: time.Unix(0, start), End: time.Unix(0, end), Step: time.Duration(step),
			Series: []chart.Series{{Name: name, Points: []chart.Point{
				{Time: time.Unix(0, start), Value: a}, {Time: time.Unix(0, start/2+end/2), Value: b}, {Time: time.Unix(0, end), Value: c},
			}}, {Name: unit}},
		}
		if kind%2 == 1 {
			ch.Start, ch.End = time.Time{}, time.Time{}
		}
		svg, err := ch.SVG()
		if err != nil {
			t.Fatal(err)
		}
		checkSVG(t, svg)
		if _, err := ch.PNG(); err != nil {
			t.Fatal(err)
		}
	})
}
