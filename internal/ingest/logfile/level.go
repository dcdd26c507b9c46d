package logfile

import (
	"strings"

	"github.com/orielhq/oriel/internal/telemetry"
)

const (
	// levelBytes and levelWords bound how far into a line a level is looked
	// for; further on such a word is part of what is said.
	levelBytes = 160
	levelWords = 6
)

// levelOf recognises a level near the start of text: INFO, [error],
// [core:warn], level=info, "Warning:". Lower-case words of a sentence are none.
func levelOf(text string) string {
	if len(text) > levelBytes {
		text = text[:levelBytes]
	}
	for i, word := range strings.Fields(text) {
		if i == levelWords {
			break
		}
		if sev := wordLevel(word, i); sev != "" {
			return sev
		}
	}
	return ""
}

func wordLevel(word string, i int) string {
	if name, value, ok := strings.Cut(word, "="); ok {
		switch strings.ToLower(name) {
		case "level", "lvl", "severity", "loglevel":
			return telemetry.ParseSeverity(strings.Trim(value, `"',;`))
		}
		return ""
	}
	bare := strings.TrimRight(word, ":,;|")
	colon := strings.HasPrefix(word[len(bare):], ":")
	inner := strings.Trim(bare, "[]()<>")
	bracketed := inner != bare
	if bracketed {
		if at := strings.LastIndexByte(inner, ':'); at >= 0 { // [module:level]
			inner = inner[at+1:]
		}
	}
	if !levelWord(inner) {
		return ""
	}
	upper := inner == strings.ToUpper(inner)
	title := inner[:1] == strings.ToUpper(inner[:1])
	if bracketed || upper || colon && i <= 1 || title && i == 0 {
		return telemetry.ParseSeverity(inner)
	}
	return ""
}

// levelWord leaves out names such as "fine" and "config", which lines use for
// other things.
func levelWord(s string) bool {
	switch strings.ToLower(s) {
	case "trace", "debug", "info", "information", "notice", "warn", "warning", "err", "error", "severe",
		"crit", "critical", "alert", "emerg", "emergency", "fatal", "panic":
		return true
	}
	return false
}

// prioritySeverity reads <34> at the start of a line (RFC 5424 §6.2.1).
func prioritySeverity(line string) string {
	n, _, ok := priority(line)
	if !ok {
		return ""
	}
	return [...]string{
		telemetry.SeverityFatal, telemetry.SeverityFatal, telemetry.SeverityFatal, telemetry.SeverityError,
		telemetry.SeverityWarn, telemetry.SeverityInfo, telemetry.SeverityInfo, telemetry.SeverityDebug,
	}[n%8]
}
