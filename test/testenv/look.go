package testenv

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// tabLimit bounds how often TabTo presses the key: no page of ours has so many
// stops.
const tabLimit = 120

// Width of a telephone, in CSS pixels.
const telephoneWidth = 390

var axeSource = sync.OnceValues(func() (string, error) {
	dir, err := root()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(dir, "test", "node", "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		return "", fmt.Errorf("axe-core is missing: 'make tools' installs it (%w)", err)
	}
	// The value of an expression must be one that can leave the page.
	return string(text) + "\n;true", nil
})

// Paint sets what the browser prefers, "light" or "dark", and stills
// transitions, so that what is seen is final.
func (b *Browser) Paint(scheme string) {
	b.t.Helper()
	Call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
}

// Resize gives the window a width in CSS pixels.
func (b *Browser) Resize(width int64) {
	b.t.Helper()
	Call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: windowHeight, DeviceScaleFactor: 1})
}

// axeFinding is a rule that a page breaks.
type axeFinding struct {
	ID     string `json:"id"`
	Impact string `json:"impact"`
	Help   string `json:"help"`
	Nodes  []struct {
		HTML    string `json:"html"`
		Summary string `json:"failureSummary"`
	} `json:"nodes"`
}

// Rules of axe-core (https://github.com/dequelabs/axe-core/blob/develop/doc/rule-descriptions.md):
// all of WCAG 2.0 to 2.2 of the levels A and AA, and those of them that depend
// on colours or on the width of the window.
const (
	rulesAll   = `{type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}`
	rulesLooks = `{type: "rule", values: ["color-contrast", "link-in-text-block", "scrollable-region-focusable", "target-size"]}`
)

// Accessible has axe-core look at the page, in light on a laptop and in dark
// on a telephone, and reports every rule of WCAG 2, A and AA, that it breaks.
// Nothing may be wider than the telephone. The browser is left in light.
func (b *Browser) Accessible(t testing.TB, what string) {
	t.Helper()
	source, err := axeSource()
	if err != nil {
		t.Fatal(err)
	}
	b.Paint("light")
	// Sent by the debugger: the page's policy, which allows no script, stays.
	do(b, "load axe-core", chromedp.Evaluate[bool](source))
	b.findings(t, what+", light", rulesAll)
	b.Paint("dark")
	b.Resize(telephoneWidth)
	b.findings(t, what+", dark, on a telephone", rulesLooks)
	if wide := do(b, "width", chromedp.Evaluate[int](`document.documentElement.scrollWidth`)); wide > telephoneWidth {
		t.Errorf("%s: %d pixels wide on a telephone of %d", what, wide, telephoneWidth)
	}
	b.Resize(windowWidth)
	b.Paint("light")
}

func (b *Browser) findings(t testing.TB, what, rules string) {
	t.Helper()
	for _, f := range do(b, "axe-core", chromedp.Evaluate[[]axeFinding](
		`axe.run(document, {runOnly: `+rules+`, resultTypes: ["violations"], preload: false}).then(r => r.violations)`,
		chromedp.EvalAwaitPromise)) {
		var where strings.Builder
		for _, n := range f.Nodes {
			fmt.Fprintf(&where, "\n  %s\n    %s", n.HTML, strings.ReplaceAll(n.Summary, "\n", "\n    "))
		}
		t.Errorf("%s: %s (%s): %s%s", what, f.ID, f.Impact, f.Help, where.String())
	}
}

// Look is Accessible and, with ORIEL_DOCS_SCREENSHOTS, Screenshot in light, as
// name, and in dark, as name-dark.
func (b *Browser) Look(t testing.TB, name string) {
	t.Helper()
	b.Accessible(t, name)
	if os.Getenv("ORIEL_DOCS_SCREENSHOTS") == "" {
		return
	}
	b.Screenshot(name)
	b.Paint("dark")
	b.Screenshot(name + "-dark")
	b.Paint("light")
}

// CutOff returns how many pixels of what a selector finds can be seen only by
// scrolling it sideways.
func (b *Browser) CutOff(selector string) int {
	b.t.Helper()
	return do(b, "width of "+selector, chromedp.Evaluate[int](fmt.Sprintf(
		`(e => e.scrollWidth - e.clientWidth)(document.querySelector(%q))`, selector)))
}

// fewColours makes a PNG of a page a third as large: it keeps the colours that
// are there most, as many as fit into a palette, and puts the nearest of them
// in place of the rest, which are shades at the edges of letters.
func fewColours(shot []byte) ([]byte, error) {
	picture, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		return nil, fmt.Errorf("decode the screenshot: %w", err)
	}
	const most = 256 // of a palette in PNG
	size := picture.Bounds()
	count := make(map[color.RGBA]int)
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(picture.At(x, y)).(color.RGBA) }
	for y := size.Min.Y; y < size.Max.Y; y++ {
		for x := size.Min.X; x < size.Max.X; x++ {
			count[at(x, y)]++
		}
	}
	var palette color.Palette
	for _, c := range slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int {
		return cmp.Or(count[b]-count[a], int(a.R)-int(b.R), int(a.G)-int(b.G), int(a.B)-int(b.B))
	}) {
		if len(palette) < most {
			palette = append(palette, c)
		}
	}
	nearest := make(map[color.RGBA]uint8)
	for c := range count {
		nearest[c] = uint8(palette.Index(c))
	}
	small := image.NewPaletted(size, palette)
	for y := size.Min.Y; y < size.Max.Y; y++ {
		for x := size.Min.X; x < size.Max.X; x++ {
			small.SetColorIndex(x, y, nearest[at(x, y)])
		}
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, small); err != nil {
		return nil, fmt.Errorf("encode the screenshot: %w", err)
	}
	return out.Bytes(), nil
}

// focused describes what has the focus: by its label, else by its text.
const focused = `(() => {
	const e = document.activeElement;
	return ((e.labels && e.labels[0]) || e).innerText.replace(/\s+/g, " ").trim();
})()`

// outlined says whether what has the focus, or the box that stands for it,
// shows that it has.
const outlined = `(() => {
	for (let e = document.activeElement, n = 0; e && n < 2; e = e.parentElement, n++)
		if (getComputedStyle(e).outlineStyle !== "none") return true;
	return false;
})()`

// TabTo presses Tab until the field, link or button with these words has the
// focus, and fails the test where it does not show.
func (b *Browser) TabTo(words string) {
	b.t.Helper()
	var met []string
	for range tabLimit {
		b.Type("\t")
		is := do(b, "focus", chromedp.Evaluate[string](focused))
		if is == words {
			if !do(b, "outline", chromedp.Evaluate[bool](outlined)) {
				b.t.Errorf("%s does not show that it has the focus", words)
			}
			return
		}
		if len(met) > 0 && met[0] == is {
			break // once around
		}
		met = append(met, is)
	}
	b.fail("Tab", fmt.Errorf("%q never has the focus: %q", words, met))
}

// Type presses keys, "\t", "\r" and " " among them, at what has the focus.
func (b *Browser) Type(keys string) {
	b.t.Helper()
	do(b, "keys", chromedp.KeyEvent(keys))
}

// TypeOn presses keys that lead to another page and waits for that.
func (b *Browser) TypeOn(keys string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, stepLimit)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.KeyEvent(keys)); err != nil {
		b.fail("keys", err)
	}
}
