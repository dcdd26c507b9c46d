// Package chart draws values over time as PNG for whoever looks at an image,
// and as SVG for pages.
//
// It knows nothing of telemetry or HTTP and asks nobody: a Chart is plain
// data, and drawing it needs neither system fonts nor cgo. All times are shown
// in UTC. Names come from telemetry, so they are cleaned and clipped before
// they are drawn; a value that is no number, and a step without a point, is a
// gap and never a zero.
package chart

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/go-analyze/charts/chartdraw"
	"github.com/go-analyze/charts/chartdraw/drawing"
)

// Limits of a chart. More than that is not legible, and somebody else's data
// must not decide how much memory a picture takes.
const (
	MaxSeries = 12
	// MaxPoints is how many points a series may have.
	MaxPoints = 2000
	// MaxWidth and MaxHeight are in pixels, as are the least that have room
	// for axes and one bar.
	MaxWidth, MaxHeight = 2000, 1200
	MinWidth, MinHeight = 200, 120

	// DefaultWidth and DefaultHeight are taken where a Chart says nothing.
	DefaultWidth, DefaultHeight = 800, 400

	// maxMagnitude is up to where values are drawn as they are; beyond it sums
	// of a few would overflow.
	maxMagnitude = 1e300
)

// ErrTooLarge is wrapped by errors about a chart beyond the limits.
var ErrTooLarge = errors.New("the chart is too large")

// Kind says how values are drawn.
type Kind int

// The kinds of charts.
const (
	// Lines joins the points of a series; where a step is missing the line
	// is interrupted.
	Lines Kind = iota
	// Bars draws series side by side, each bar from its point's time for a step.
	Bars
	// StackedBars draws series on top of each other; negative values count
	// as nothing.
	StackedBars
)

// Tone is the color of a series.
type Tone int

// The tones. Auto gives each series of a chart its own color.
const (
	Auto Tone = iota
	Muted
	Calm
	Warning
	Danger
	Critical
)

// Chart is what is drawn. The zero Chart draws that there is no data.
type Chart struct {
	Title string
	// Unit is a unit of UCUM as OpenTelemetry has it (s, ms, By, 1, {request})
	// or its name; see FormatValue.
	Unit   string
	Kind   Kind
	Series []Series
	// Start and End bound the axis of time; the zero time takes the first or
	// last point.
	Start, End time.Time
	// Step is the time between points, and how wide a bar is; 0 takes the
	// least time between two points of a series.
	Step time.Duration
	// Dark draws for a dark background.
	Dark bool
	// Width and Height are in pixels; 0 takes the default.
	Width, Height int
}

// Series is a named row of points in the order of time.
type Series struct {
	Name   string
	Points []Point
	Tone   Tone
}

// Point is a value at a time. NaN and the infinities are no values.
type Point struct {
	Time  time.Time
	Value float64
}

// PNG draws the chart as a PNG image. Errors: ErrTooLarge.
func (c Chart) PNG() ([]byte, error) { return c.render(chartdraw.PNG) }

// SVG draws the chart as an SVG document. Its text is escaped. Errors:
// ErrTooLarge.
func (c Chart) SVG() ([]byte, error) { return c.render(chartdraw.SVG) }

func (c Chart) check() error {
	switch {
	case len(c.Series) > MaxSeries:
		return fmt.Errorf("%w: %d series, at most %d are drawn", ErrTooLarge, len(c.Series), MaxSeries)
	case c.Width > MaxWidth || c.Height > MaxHeight:
		return fmt.Errorf("%w: %d×%d pixels, at most %d×%d are drawn", ErrTooLarge, c.Width, c.Height, MaxWidth, MaxHeight)
	case c.Width < MinWidth || c.Height < MinHeight:
		return fmt.Errorf("chart: %d×%d pixels have no room for a chart, at least %d×%d", c.Width, c.Height, MinWidth, MinHeight)
	}
	for _, s := range c.Series {
		if len(s.Points) > MaxPoints {
			return fmt.Errorf("%w: a series of %d points, at most %d are drawn", ErrTooLarge, len(s.Points), MaxPoints)
		}
	}
	return nil
}

func (c Chart) render(provider chartdraw.RendererProvider) ([]byte, error) {
	if c.Width == 0 {
		c.Width = DefaultWidth
	}
	if c.Height == 0 {
		c.Height = DefaultHeight
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	p := c.plan()
	var b bytes.Buffer
	if err := p.chart().Render(provider, &b); err != nil {
		return nil, fmt.Errorf("draw chart: %w", err)
	}
	return b.Bytes(), nil
}

// plan is a chart with everything decided.
type plan struct {
	Chart
	colors palette
	// rows are the series as they are drawn: only points inside of the axis,
	// with values.
	rows [][]Point
	// low and high bound the axis of values.
	low, high float64
	ticks     []chartdraw.Tick
	empty     bool
	// legend is set in rows of fitting width.
	legend [][]legendEntry
}

func (c Chart) plan() *plan {
	p := &plan{Chart: c, colors: paletteFor(c.Dark), empty: true}
	p.findTimes()
	low, high := math.Inf(1), math.Inf(-1)
	p.rows = make([][]Point, len(c.Series))
	stack := make(map[int64]float64)
	for i, s := range c.Series {
		for _, pt := range s.Points {
			if math.IsNaN(pt.Value) || math.IsInf(pt.Value, 0) || pt.Time.After(p.End) || pt.Time.Add(p.Step).Before(p.Start) || (c.Kind == Lines && pt.Time.Before(p.Start)) {
				continue
			}
			pt.Value = min(max(pt.Value, -maxMagnitude), maxMagnitude)
			if c.Kind == StackedBars {
				pt.Value = max(pt.Value, 0)
				stack[pt.Time.UnixNano()] += pt.Value
				high = max(high, stack[pt.Time.UnixNano()])
				low = min(low, 0)
			} else {
				low, high = min(low, pt.Value), max(high, pt.Value)
			}
			p.rows[i] = append(p.rows[i], pt)
			p.empty = false
		}
	}
	if p.empty {
		low, high = 0, 1
	}
	// Bars begin at zero, or they lie about proportions; lines do where zero
	// is not far.
	if c.Kind != Lines || (low > 0 && low < high*0.75) {
		low = min(low, 0)
	}
	if c.Kind != Lines || (high < 0 && high > low*0.75) {
		high = max(high, 0)
	}
	p.low, p.high, p.ticks = valueTicks(low, high, c.Unit, max(2, c.Height/70))
	p.layLegend()
	return p
}

// findTimes fills in what of Start, End and Step is not given.
func (p *plan) findTimes() {
	var first, last time.Time
	step := time.Duration(math.MaxInt64)
	for _, s := range p.Series {
		for i, pt := range s.Points {
			if first.IsZero() || pt.Time.Before(first) {
				first = pt.Time
			}
			if last.IsZero() || pt.Time.After(last) {
				last = pt.Time
			}
			if i > 0 {
				if d := pt.Time.Sub(s.Points[i-1].Time); d > 0 {
					step = min(step, d)
				}
			}
		}
	}
	if step == math.MaxInt64 {
		step = 0
	}
	if p.Step <= 0 {
		p.Step = step
	}
	if p.Start.IsZero() {
		p.Start = first
	}
	if p.End.IsZero() {
		if p.End = last; p.Kind != Lines {
			p.End = last.Add(p.Step)
		}
	}
	if !p.Start.Before(p.End) {
		p.End = p.Start.Add(time.Minute)
	}
	if p.Step <= 0 {
		p.Step = max(time.Second, p.End.Sub(p.Start)/60)
	}
}

// at is where a time lies on the axis, in seconds after its start: seconds
// since 1970 would cost the precision of short windows.
func (p *plan) at(t time.Time) float64 { return t.Sub(p.Start).Seconds() }

// timeRange is an axis whose ticks do not bound it.
type timeRange struct {
	chartdraw.ContinuousRange
	ticks []chartdraw.Tick
}

// GetTicks implements chartdraw.TicksProvider.
func (r *timeRange) GetTicks(chartdraw.ValueFormatter) []chartdraw.Tick { return r.ticks }

const (
	fontSize      = 10.0 // points
	titleFontSize = 12.0
	// The margins are in pixels.
	sideMargin   = 14
	titleHeight  = 26
	unitHeight   = 20
	legendHeight = 19
)

// dpi makes a point somewhat larger than a pixel.
const dpi = drawing.DefaultDPI

func (p *plan) chart() chartdraw.Chart {
	text := chartdraw.Style{FontStyle: chartdraw.FontStyle{FontColor: p.colors.text, FontSize: fontSize}, StrokeColor: p.colors.axis, StrokeWidth: 1}
	grid := chartdraw.Style{StrokeColor: p.colors.grid, StrokeWidth: 1}
	ticks := timeTicks(p.Start, p.End, max(2, p.Width/110))
	x := &timeRange{ticks: ticks}
	x.Min, x.Max = 0, p.at(p.End)
	c := chartdraw.Chart{
		Width: p.Width, Height: p.Height, DPI: dpi,
		Background: chartdraw.Style{FillColor: p.colors.background, StrokeColor: p.colors.background, Padding: chartdraw.Box{
			Top: p.top(), Left: sideMargin, Right: sideMargin + 6, Bottom: 12 + len(p.legend)*legendHeight, IsSet: true,
		}},
		Canvas: chartdraw.Style{FillColor: p.colors.background},
		XAxis:  chartdraw.XAxis{Style: text, Range: x, GridMajorStyle: grid, GridMinorStyle: grid, GridLines: gridLines(ticks, 0, x.Max)},
		// The library's first axis stands on the right.
		YAxis: chartdraw.YAxis{Style: chartdraw.Hidden(), Range: &chartdraw.ContinuousRange{Max: 1}},
		YAxisSecondary: chartdraw.YAxis{
			Style: text, Ticks: p.ticks, Zero: chartdraw.GridLine{Style: chartdraw.Hidden()},
			GridMajorStyle: grid, GridMinorStyle: grid, GridLines: gridLines(p.ticks, p.low, p.high),
		},
		Elements: []chartdraw.Renderable{p.drawWords},
	}
	c.Series = []chartdraw.Series{drawn{p}}
	return c
}

// top is how much room the words above the plot need.
func (p *plan) top() int {
	top := 14
	if p.Title != "" {
		top += titleHeight
	}
	if p.unitWords() != "" {
		top += unitHeight
	}
	return top
}

// gridLines are lines at the ticks, without those that lie on the border.
func gridLines(ticks []chartdraw.Tick, low, high float64) []chartdraw.GridLine {
	var out []chartdraw.GridLine
	for _, t := range ticks {
		if t.Value > low && t.Value < high {
			out = append(out, chartdraw.GridLine{Value: t.Value})
		}
	}
	if len(out) == 0 { // an empty list would have the library make some
		out = append(out, chartdraw.GridLine{Value: low})
	}
	return out
}
