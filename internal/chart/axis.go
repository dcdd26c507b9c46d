package chart

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-analyze/charts/chartdraw"
)

// timeSteps are what the labels of the axis of time are apart.
var timeSteps = []time.Duration{
	time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, day, 2 * day, 7 * day, 14 * day, 30 * day, 90 * day, 365 * day,
}

const day = 24 * time.Hour

// timeTicks returns at most n labels at round times of UTC, in seconds after
// start.
func timeTicks(start, end time.Time, n int) []chartdraw.Tick {
	length := end.Sub(start)
	step := timeSteps[0]
	for _, s := range timeSteps {
		if step = s; length/s < time.Duration(n) {
			break
		}
	}
	for length/step >= time.Duration(n) && step < math.MaxInt64/2 {
		step *= 2
	}
	t := start.UTC().Truncate(step)
	if t.Before(start) {
		t = t.Add(step)
	}
	var out []chartdraw.Tick
	for ; !t.After(end) && len(out) <= n; t = t.Add(step) {
		format := "15:04"
		midnight := t.Truncate(day).Equal(t)
		switch {
		case step >= 300*day:
			format = "2006"
		case step >= 30*day:
			format = "Jan 2006"
		case step >= day, midnight:
			format = "Jan 2"
		case step < time.Second:
			format = "15:04:05.000"
		case step < time.Minute:
			format = "15:04:05"
		}
		out = append(out, chartdraw.Tick{Value: t.Sub(start).Seconds(), Label: t.Format(format)})
	}
	if len(out) == 0 {
		out = append(out, chartdraw.Tick{Value: 0, Label: start.UTC().Format("15:04:05")})
	}
	return out
}

// span says which time a chart shows.
func span(start, end time.Time) string {
	start, end = start.UTC(), end.UTC()
	format := "2006-01-02 15:04"
	if end.Sub(start) < 10*time.Minute {
		format += ":05"
	}
	last := end.Format(format)
	if start.Truncate(day).Equal(end.Truncate(day)) {
		last = strings.TrimPrefix(last, start.Format("2006-01-02 "))
	}
	return start.Format(format) + " – " + last + " UTC"
}

// valueTicks returns round labels, about n, and the axis that they bound.
func valueTicks(low, high float64, unit string, n int) (from, to float64, ticks []chartdraw.Tick) {
	if low >= high {
		d := max(math.Abs(low)*0.1, math.SmallestNonzeroFloat64)
		if low == 0 {
			d = 1
		}
		if low > 0 {
			low, high = max(0, low-d), low+d
		} else {
			low, high = low-d, min(low+d, math.Abs(low)+1)
		}
	}
	// A span that numbers of this size cannot tell apart is none.
	if size := max(math.Abs(low), math.Abs(high)); high-low < size*1e-12 {
		low, high = low-size*1e-9, high+size*1e-9
	}
	step := niceStep((high-low)/float64(n), unit)
	first, last := math.Floor(low/step), math.Ceil(high/step)
	if !(last-first >= 1 && last-first < 100) { // beyond what floats can divide
		return low, high, []chartdraw.Tick{{Value: low, Label: FormatValue(low, unit)}, {Value: high, Label: FormatValue(high, unit)}}
	}
	for k := first; k <= last; k++ {
		v := k * step
		ticks = append(ticks, chartdraw.Tick{Value: v, Label: formatStep(v, step, unit)})
	}
	return first * step, last * step, ticks
}

// niceStep rounds up to 1, 2, 2.5 or 5 times a power of ten, of 1024 for bytes, or
// to round minutes and hours.
func niceStep(step float64, unit string) float64 {
	kind, scale := unitOf(unit)
	switch {
	case kind == bytesUnit && step*scale >= 1:
		power := math.Pow(1024, math.Floor(math.Log(step*scale)/math.Log(1024)))
		return roundUp(step*scale/power) * power / scale
	case kind == secondsUnit && step*scale > 1:
		for _, s := range []float64{2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400} {
			if step*scale <= s {
				return s / scale
			}
		}
		return roundUp(step*scale/86400) * 86400 / scale
	}
	return roundUp(step)
}

func roundUp(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	if power == 0 || math.IsInf(power, 0) {
		return v
	}
	for _, f := range []float64{1, 2, 2.5, 5} {
		if v <= f*power*(1+1e-9) {
			return f * power
		}
	}
	return 10 * power
}

// The kinds of units that are written in a way of their own.
const (
	plainUnit = iota
	secondsUnit
	bytesUnit
	percentUnit
)

// unitOf returns the kind of a unit and how many of the kind's it is.
func unitOf(unit string) (kind int, scale float64) {
	switch strings.ToLower(strings.TrimSpace(unit)) {
	case "s", "sec", "second", "seconds":
		return secondsUnit, 1
	case "ms", "millisecond", "milliseconds":
		return secondsUnit, 1e-3
	case "us", "µs", "microsecond", "microseconds":
		return secondsUnit, 1e-6
	case "ns", "nanosecond", "nanoseconds":
		return secondsUnit, 1e-9
	case "min", "minute", "minutes":
		return secondsUnit, 60
	case "h", "hour", "hours":
		return secondsUnit, 3600
	case "by", "byte", "bytes":
		return bytesUnit, 1
	case "kiby", "kibibytes":
		return bytesUnit, 1 << 10
	case "miby", "mebibytes":
		return bytesUnit, 1 << 20
	case "giby", "gibibytes":
		return bytesUnit, 1 << 30
	case "%", "percent":
		return percentUnit, 1
	}
	return plainUnit, 1
}

// unitWords is what stands above the axis of values; units that each label has
// are not said again.
func (p *plan) unitWords() string {
	if kind, _ := unitOf(p.Unit); kind != plainUnit || p.Unit == "1" || strings.TrimSpace(p.Unit) == "" {
		return ""
	}
	return Name(strings.Trim(p.Unit, "{}"), maxNameRunes)
}

// FormatValue writes a value short, for people: seconds as 250 ms or 3 min,
// bytes as 1.5 MiB, percent as 12 %, other numbers as 1.5k or 2M with the unit
// left out. What is not a number is "–".
func FormatValue(v float64, unit string) string { return formatStep(v, 0, unit) }

// formatStep is FormatValue with enough digits to tell values apart that are a
// step apart.
func formatStep(v, step float64, unit string) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	kind, scale := unitOf(unit)
	v, step = v*scale, step*scale
	if math.IsInf(v, 0) {
		return "–"
	}
	if v == 0 {
		return [...]string{plainUnit: "0", secondsUnit: "0 s", bytesUnit: "0 B", percentUnit: "0 %"}[kind]
	}
	size := math.Abs(v)
	pick := func(units []unitStep, space string) string {
		u := units[len(units)-1]
		for _, each := range units {
			if size >= each.size*0.9995 {
				u = each
				break
			}
		}
		return digits(v/u.size, step/u.size) + space + u.name
	}
	switch kind {
	case secondsUnit:
		return pick([]unitStep{{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}, {1e-3, "ms"}, {1e-6, "µs"}, {1e-9, "ns"}}, " ")
	case bytesUnit:
		return pick([]unitStep{{1 << 50, "PiB"}, {1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}, {1, "B"}}, " ")
	case percentUnit:
		return digits(v, step) + " %"
	}
	switch {
	case size >= 1e18 || size < 1e-4:
		return strconv.FormatFloat(v, 'g', 3, 64)
	case size < 999.5:
		return digits(v, step)
	}
	return pick([]unitStep{{1e15, "P"}, {1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}}, "")
}

type unitStep struct {
	size float64
	name string
}

// digits writes a number with three significant digits, or as many decimals as
// a step needs.
func digits(v, step float64) string {
	if math.Abs(v) >= 1e6 || math.Abs(v) < 1e-6 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	decimals := max(0, 2-int(math.Floor(math.Log10(math.Abs(v)))))
	if step > 0 {
		decimals = min(9, max(0, -int(math.Floor(math.Log10(step)+1e-9))))
		if s := step * math.Pow(10, float64(decimals)); s != math.Trunc(s) {
			decimals = min(9, decimals+1)
		}
	}
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
