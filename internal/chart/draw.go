package chart

import (
	"strings"
	"time"
	"unicode"

	"github.com/go-analyze/charts/chartdraw"
	"github.com/go-analyze/charts/chartdraw/drawing"
)

// palette is the colors of one background. Series colors can be told apart by
// people who do not see all colors (after Okabe and Ito), and have a contrast
// of at least 3:1.
type palette struct {
	background, text, muted, axis, grid drawing.Color
	series                              []drawing.Color
	tones                               map[Tone]drawing.Color
}

func rgb(hex uint32) drawing.Color {
	return drawing.Color{R: uint8(hex >> 16), G: uint8(hex >> 8), B: uint8(hex), A: 255}
}

// colorsOf is how many colors there are; further series repeat them dashed.
const colorsOf = 6

func paletteFor(dark bool) palette {
	if dark {
		return palette{
			background: rgb(0x1b201f), text: rgb(0xd9dce3), muted: rgb(0xa2a8b4), axis: rgb(0x6b7280), grid: rgb(0x323a38),
			series: []drawing.Color{rgb(0x6cb6ff), rgb(0xf59e5b), rgb(0x4fd1a5), rgb(0xe29ccb), rgb(0xe8d35a), rgb(0xb3a1ff)},
			tones:  map[Tone]drawing.Color{Muted: rgb(0x7d8594), Calm: rgb(0x5aa2e6), Warning: rgb(0xe0b03a), Danger: rgb(0xf0705f), Critical: rgb(0xd68bf0)},
		}
	}
	return palette{
		background: rgb(0xffffff), text: rgb(0x25292f), muted: rgb(0x5b6370), axis: rgb(0x8a919d), grid: rgb(0xe7e9ed),
		series: []drawing.Color{rgb(0x0067b1), rgb(0xcf5600), rgb(0x00845e), rgb(0xb5498f), rgb(0x937a00), rgb(0x5b45c2)},
		tones:  map[Tone]drawing.Color{Muted: rgb(0x8b93a0), Calm: rgb(0x2f7fc4), Warning: rgb(0xb98300), Danger: rgb(0xcb3a2b), Critical: rgb(0x8a2bb0)},
	}
}

// color returns that of the series i, and whether its line is dashed.
func (p *plan) color(i int) (c drawing.Color, dashed bool) {
	if c, ok := p.colors.tones[p.Series[i].Tone]; ok {
		return c, false
	}
	return p.colors.series[i%colorsOf], i >= colorsOf
}

// drawn is all series of a chart, as one of the library's.
type drawn struct{ *plan }

// GetName implements chartdraw.Series, as do the methods below.
func (drawn) GetName() string               { return "" }
func (drawn) GetYAxis() chartdraw.YAxisType { return chartdraw.YAxisSecondary }
func (drawn) GetStyle() chartdraw.Style     { return chartdraw.Style{} }
func (drawn) Validate() error               { return nil }
func (d drawn) Render(r chartdraw.Renderer, box chartdraw.Box, x, y chartdraw.Range, _ chartdraw.Style) {
	if d.Kind == Lines {
		for i := range d.rows {
			d.line(r, box, x, y, i)
		}
		return
	}
	d.bars(r, box, x, y)
}

// gapFactor is how many steps may lie between two points of one line.
const gapFactor = 1.5

func (d drawn) line(r chartdraw.Renderer, box chartdraw.Box, x, y chartdraw.Range, i int) {
	color, dashed := d.color(i)
	style := chartdraw.Style{StrokeColor: color, StrokeWidth: 2, FillColor: color}
	if dashed {
		style.StrokeDashArray = []float64{6, 3}
	}
	gap := time.Duration(gapFactor * float64(d.Step))
	rows := d.rows[i]
	for from := 0; from < len(rows); {
		to := from + 1
		for to < len(rows) && rows[to].Time.Sub(rows[to-1].Time) <= gap {
			to++
		}
		place := func(pt Point) (int, int) {
			return box.Left + x.Translate(d.at(pt.Time)), box.Bottom - y.Translate(pt.Value)
		}
		if to-from == 1 { // a line of one point would not be seen
			px, py := place(rows[from])
			style.GetFillOptions().WriteToRenderer(r)
			r.Circle(2.5, px, py)
			r.Fill()
		} else {
			style.GetStrokeOptions().WriteToRenderer(r)
			for k, pt := range rows[from:to] {
				if px, py := place(pt); k == 0 {
					r.MoveTo(px, py)
				} else {
					r.LineTo(px, py)
				}
			}
			r.Stroke()
		}
		from = to
	}
	r.ResetStyle()
}

func (d drawn) bars(r chartdraw.Renderer, box chartdraw.Box, x, y chartdraw.Range) {
	base := make(map[int64]float64)
	for i, rows := range d.rows {
		color, _ := d.color(i)
		chartdraw.Style{FillColor: color}.GetFillOptions().WriteToRenderer(r)
		for _, pt := range rows {
			low, high := 0.0, pt.Value
			if d.Kind == StackedBars {
				key := pt.Time.UnixNano()
				low = base[key]
				high = low + pt.Value
				base[key] = high
			}
			if low == high {
				continue
			}
			left, right := x.Translate(max(0, d.at(pt.Time))), x.Translate(min(x.GetMax(), d.at(pt.Time.Add(d.Step))))
			if right-left >= 4 {
				right-- // so that neighbours can be told apart
			}
			if n := len(d.rows); d.Kind == Bars && n > 1 {
				width := right - left
				left, right = left+width*i/n, left+width*(i+1)/n
			}
			rect(r, box.Left+left, box.Bottom-y.Translate(high), box.Left+max(right, left+1), box.Bottom-y.Translate(low))
		}
	}
	r.ResetStyle()
}

// rect fills a rectangle that is at least one pixel high: little is not
// nothing.
func rect(r chartdraw.Renderer, left, top, right, bottom int) {
	if top > bottom {
		top, bottom = bottom, top
	}
	if top == bottom {
		top--
	}
	r.MoveTo(left, top)
	r.LineTo(right, top)
	r.LineTo(right, bottom)
	r.LineTo(left, bottom)
	r.Close()
	r.Fill()
}

// A legendEntry is a series in the legend, with where its row has it.
type legendEntry struct {
	series, x int
	name      string
}

const (
	swatchWidth = 14
	entryGap    = 18
	// maxNameRunes is how much of a series' name is shown; a long legend has
	// less.
	maxNameRunes = 60
)

// maxLegendRows is how much of the height names may take; more are not shown
// but counted.
func (p *plan) maxLegendRows() int { return max(1, p.Height/100) }

func (p *plan) layLegend() {
	if len(p.Series) == 0 {
		return
	}
	m := p.measurer(fontSize)
	width := p.Width - 2*sideMargin
	for runes := maxNameRunes; ; runes = runes * 2 / 3 {
		p.legend = nil
		x := 0
		row := []legendEntry{}
		for i, s := range p.Series {
			name := p.fit(m, Name(s.Name, runes), width-swatchWidth-entryGap)
			w := swatchWidth + 6 + m.MeasureText(name).Width() + entryGap
			if x > 0 && x+w-entryGap > width {
				p.legend = append(p.legend, row)
				row, x = nil, 0
			}
			row = append(row, legendEntry{i, x, name})
			x += w
		}
		p.legend = append(p.legend, row)
		if len(p.legend) <= p.maxLegendRows() || runes < 8 {
			break
		}
	}
	p.legend = p.legend[:min(len(p.legend), p.maxLegendRows())]
}

// measurer measures text without drawing it.
func (p *plan) measurer(size float64) chartdraw.Renderer {
	m := chartdraw.SVG(1, 1)
	m.SetDPI(dpi)
	m.SetFont(chartdraw.GetDefaultFont())
	m.SetFontSize(size)
	return m
}

// fit cuts a text to a width in pixels.
func (p *plan) fit(m chartdraw.Renderer, s string, width int) string {
	if m.MeasureText(s).Width() <= width {
		return s
	}
	r := []rune(s)
	for len(r) > 0 && m.MeasureText(string(r)+"…").Width() > width {
		r = r[:len(r)-1]
	}
	return string(r) + "…"
}

// Name makes a name that telemetry chose fit for one line of at most so many
// runes: without control and direction characters, cut in the middle, because
// names of series differ at their ends.
func Name(s string, runes int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	s = strings.Join(strings.Fields(s), " ")
	if s == "" {
		return "(no name)"
	}
	if r := []rune(s); len(r) > runes {
		head := (runes - 1) / 2
		return string(r[:head]) + "…" + string(r[len(r)-(runes-1-head):])
	}
	return s
}

// drawWords draws the title, the unit, the times and the legend.
func (p *plan) drawWords(r chartdraw.Renderer, box chartdraw.Box, _ chartdraw.Style) {
	r.SetFont(chartdraw.GetDefaultFont())
	write := func(s string, x, y int, size float64, color drawing.Color) {
		r.SetFontSize(size)
		r.SetFontColor(color)
		r.Text(s, x, y)
	}
	m := p.measurer(fontSize)
	when := span(p.Start, p.End)
	whenWidth := m.MeasureText(when).Width()
	showWhen := whenWidth < p.Width/2
	y := 14
	if p.Title != "" {
		y += 12
		room := p.Width - 2*sideMargin
		if showWhen {
			room -= whenWidth + entryGap
		}
		write(p.fit(p.measurer(titleFontSize), Name(p.Title, 200), room), sideMargin, y, titleFontSize, p.colors.text)
		if showWhen {
			write(when, p.Width-sideMargin-whenWidth, y, fontSize, p.colors.muted)
		}
		y += titleHeight - 12
	}
	if unit := p.unitWords(); unit != "" {
		write(p.fit(m, unit, p.Width-2*sideMargin), sideMargin, y+8, fontSize, p.colors.muted)
	}
	if p.empty {
		const none = "No data in this time"
		write(none, (box.Left+box.Right-m.MeasureText(none).Width())/2, (box.Top+box.Bottom)/2, titleFontSize, p.colors.muted)
	}
	shown := 0
	for i, row := range p.legend {
		y := p.Height - len(p.legend)*legendHeight + i*legendHeight + 9
		for _, e := range row {
			color, dashed := p.color(e.series)
			p.swatch(r, sideMargin+e.x, y, color, dashed)
			write(e.name, sideMargin+e.x+swatchWidth+6, y, fontSize, p.colors.text)
			shown++
		}
	}
	if left := len(p.Series) - shown; left > 0 {
		more := "and " + plain(float64(left)) + " more"
		write(more, p.Width-sideMargin-m.MeasureText(more).Width(), p.Height-len(p.legend)*legendHeight-4, fontSize, p.colors.muted)
	}
}

func (p *plan) swatch(r chartdraw.Renderer, x, y int, color drawing.Color, dashed bool) {
	if p.Kind != Lines {
		r.SetFillColor(color)
		r.SetStrokeColor(color)
		r.SetStrokeWidth(0)
		rect(r, x, y-10, x+swatchWidth-2, y)
		return
	}
	r.SetStrokeColor(color)
	r.SetStrokeWidth(2.5)
	r.SetStrokeDashArray(nil)
	if dashed {
		r.SetStrokeDashArray([]float64{5, 3})
	}
	r.MoveTo(x, y-4)
	r.LineTo(x+swatchWidth, y-4)
	r.Stroke()
	r.SetStrokeDashArray(nil)
}
