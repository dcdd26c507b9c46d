package tools

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// timeForms are what parseTime accepts, for errors.
const timeForms = `write now, now-15m, now-2d, "15m ago", RFC 3339 such as 2026-11-23T09:00:00Z or 2026-11-23T10:00:00+01:00 ` +
	`(without an offset it is UTC), a date such as 2026-11-23, or a Unix time in s, ms, µs or ns such as 1795424400`

const (
	maxTimeBytes = 64 // of a time's text
	// maxAgo bounds relative times: 200 years, well inside of what a
	// time.Duration holds.
	maxAgo = 200 * 365 * 24 * time.Hour
	// leastEpoch is the smallest number taken for a Unix time (1973): 15 is
	// more likely meant as 15 minutes, 2026 as a year, 20261123 as a date.
	leastEpoch = 100_000_000
)

// The times that can be asked for: what the engines hold.
var (
	earliestTime = time.Unix(0, 0).UTC()
	latestTime   = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

var (
	relativePattern = regexp.MustCompile(`^(now)?\s*([+-]?)\s*((?:\d+(?:\.\d+)?\s*[a-z]+\s*)+)(ago)?$`)
	durationPattern = regexp.MustCompile(`(\d+(?:\.\d+)?)\s*([a-z]+)`)
	numberPattern   = regexp.MustCompile(`^\d+(?:\.\d+)?$`)
)

// Layouts of absolute times, tried in this order. Fractions of a second are
// read after every one that ends in seconds.
var (
	zonedLayouts = []string{"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07"}
	naiveLayouts = []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"}
)

// parseTime reads an instant as assistants write them; see timeForms. A time
// without an offset is UTC. relative says that the same text means another
// instant later. Errors are problems without the argument's name.
func parseTime(s string, now time.Time) (t time.Time, relative bool, err error) {
	s = strings.TrimSpace(s)
	if len(s) > maxTimeBytes {
		return time.Time{}, false, problemf("%s is no time; %s", quoteArgument(s), timeForms)
	}
	lower := strings.ToLower(s)
	switch {
	case lower == "now":
		return now.UTC(), true, nil
	case numberPattern.MatchString(decimal(s)):
		t, err = parseEpoch(s)
	case relativePattern.MatchString(lower):
		relative = true
		t, err = parseRelative(s, now)
	default:
		t, err = parseAbsolute(s)
	}
	if err != nil {
		return time.Time{}, false, err
	}
	if t.Before(earliestTime) || !t.Before(latestTime) {
		return time.Time{}, false, problemf("%s is outside of the years 1970 to 2199; %s", quoteArgument(s), timeForms)
	}
	return t.UTC(), relative, nil
}

// decimal writes out a number with an exponent, as JSON may have it. Anything
// else stays as it is.
func decimal(s string) string {
	if strings.ContainsAny(s, "eE") {
		if f, err := strconv.ParseFloat(s, 64); err == nil && f >= 0 && f < 1e20 {
			return strconv.FormatFloat(f, 'f', -1, 64)
		}
	}
	return s
}

// parseEpoch reads a Unix time, whose unit its size tells.
func parseEpoch(s string) (time.Time, error) {
	v, ok := new(big.Rat).SetString(decimal(s))
	if !ok || v.Cmp(big.NewRat(leastEpoch, 1)) < 0 {
		return time.Time{}, problemf("%s is too small for a Unix time; %s", quoteArgument(s), timeForms)
	}
	// Below 100,000,000,000 it is seconds, to the year 5138; the next three
	// digits are milliseconds, and so on.
	unit := int64(time.Second)
	for limit := int64(leastEpoch) * 1000; unit > 1 && v.Cmp(big.NewRat(limit, 1)) >= 0; limit *= 1000 {
		unit /= 1000
	}
	v.Mul(v, big.NewRat(unit, 1))
	ns := new(big.Int).Quo(v.Num(), v.Denom())
	if !ns.IsInt64() {
		return time.Time{}, problemf("%s is too large for a Unix time; %s", quoteArgument(s), timeForms)
	}
	return time.Unix(0, ns.Int64()), nil
}

// units of relative times. Months and years have no fixed length.
var units = map[string]time.Duration{
	"ms": time.Millisecond,
	"s":  time.Second, "sec": time.Second, "secs": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "min": time.Minute, "mins": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hrs": time.Hour, "hour": time.Hour, "hours": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
	"w": 7 * 24 * time.Hour, "week": 7 * 24 * time.Hour, "weeks": 7 * 24 * time.Hour,
}

func parseRelative(s string, now time.Time) (time.Time, error) {
	m := relativePattern.FindStringSubmatch(strings.ToLower(s))
	isNow, sign, ago := m[1] != "", m[2], m[4] != "" || strings.HasSuffix(strings.TrimSpace(m[3]), "ago")
	amounts := strings.TrimSuffix(strings.TrimSpace(m[3]), "ago")
	if isNow && sign == "" || sign == "+" && (!isNow || ago) || isNow && ago {
		return time.Time{}, problemf("%s is no time; %s", quoteArgument(s), timeForms)
	}
	var sum time.Duration
	for _, part := range durationPattern.FindAllStringSubmatch(amounts, -1) {
		unit, ok := units[part[2]]
		// 15M could be months elsewhere.
		if !ok || part[2] == "m" && strings.Contains(s, "M") {
			return time.Time{}, problemf("%s has no unit that is known (ms, s, m, h, d, w); %s", quoteArgument(s), timeForms)
		}
		n, err := strconv.ParseFloat(part[1], 64)
		if err != nil || n*float64(unit) > float64(maxAgo) || sum > maxAgo {
			return time.Time{}, problemf("%s is too long ago; %s", quoteArgument(s), timeForms)
		}
		sum += time.Duration(n * float64(unit))
	}
	if sign == "+" {
		return now.Add(sum), nil
	}
	return now.Add(-sum), nil
}

func parseAbsolute(s string) (time.Time, error) {
	text := strings.ToUpper(s)
	if rest, ok := strings.CutSuffix(text, "UTC"); ok {
		text = strings.TrimSpace(rest) + "Z"
	}
	// 2026-11-23 09:00:00 is RFC 3339 to people, and to its section 5.6.
	if len(text) > 10 && text[10] == ' ' {
		text = text[:10] + "T" + strings.ReplaceAll(text[11:], " ", "")
	}
	for _, layout := range zonedLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	for _, layout := range naiveLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, problemf("%s is no time; %s", quoteArgument(s), timeForms)
}

// stamp prints an instant to the millisecond, in UTC.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// exact prints an instant so that parseTime reads the same one back.
func exact(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
