package victoria

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/VictoriaMetrics/VictoriaLogs/lib/logstorage"

	"github.com/orielhq/oriel/internal/telemetry"
)

// Limits of a query's text.
const (
	maxQueryBytes = 16 << 10
	maxQueryDepth = 32 // nested brackets; the engine's parser recurses
	maxQueryPipes = 64 // at all depths together
	// maxJoinRows bounds the subquery of a join, which the engine holds in
	// memory without counting it.
	maxJoinRows = 10_000
	// maxGrowth bounds how many times larger than stored the pipes of a query
	// may make a row: doubled forty times, one row fills any memory.
	maxGrowth = 4096
)

// allowedPipes holds the words that may follow a |, with the type of the
// engine's parsed form. What is missing here is refused: see refusedPipes.
var allowedPipes = map[string]string{
	"collapse_nums": "pipeCollapseNums", "copy": "pipeCopy", "cp": "pipeCopy", "decolorize": "pipeDecolorize",
	"del": "pipeDelete", "delete": "pipeDelete", "drop": "pipeDelete", "rm": "pipeDelete",
	"drop_empty_fields": "pipeDropEmptyFields", "extract": "pipeExtract", "extract_regexp": "pipeExtractRegexp",
	"eval": "pipeMath", "math": "pipeMath", "facets": "pipeFacets", "field_names": "pipeFieldNames",
	"field_values": "pipeFieldValues", "fields": "pipeFields", "keep": "pipeFields", "filter": "pipeFilter",
	"where": "pipeFilter", "first": "pipeFirst", "last": "pipeLast", "format": "pipeFormat", "hash": "pipeHash",
	"join": "pipeJoin", "json_array_len": "pipeJSONArrayLen", "head": "pipeLimit", "limit": "pipeLimit",
	"len": "pipeLen", "mv": "pipeRename", "rename": "pipeRename", "offset": "pipeOffset", "skip": "pipeOffset",
	"order": "pipeSort", "sort": "pipeSort", "pack_json": "pipePackJSON",
	"replace": "pipeReplace", "replace_regexp": "pipeReplaceRegexp", "running_stats": "pipeRunningStats",
	"sample": "pipeSample", "split": "pipeSplit", "stats": "pipeStats", "top": "pipeTop",
	"total_stats": "pipeRunningStats", "union": "pipeUnion", "uniq": "pipeUniq", "unpack_json": "pipeUnpackJSON",
	"unpack_logfmt": "pipeUnpackLogfmt", "unpack_words": "pipeUnpackWords", "unroll": "pipeUnroll",
}

// refusedPipes says, for each pipe of the engine that is refused on purpose,
// what to write instead.
var refusedPipes = map[string]string{
	// These answer from rows outside of the data scope.
	"stream_context": "it is not offered here; search the same service in a narrow time range instead",
	"block_stats":    "it is not offered here; use | facets to see fields and values",
	"blocks_count":   "it is not offered here; use | stats count()",
	"query_stats":    "it is not offered here",
	"pack_logfmt":    "it is not offered here; use | pack_json", // it names empty fields, see field_names
	// A stored row could end the engine's process through it.
	"unpack_syslog": "it is not offered here; use | extract or | extract_regexp",
	// It makes rows from nothing, as many as it is told.
	"generate_sequence": "it is not offered here",
	// These are the engine's own, or change what a row says of its origin.
	"stats_remote":      "use | stats",
	"set_stream_fields": "it is not offered here",
	"time_add":          "it is not offered here; use the time range",
}

// statsWords are the functions that may follow a | with stats left out.
var statsWords = []string{
	"any", "avg", "by", "count", "count_empty", "count_uniq", "count_uniq_hash", "field_max", "field_min", "histogram",
	"json_values", "max", "median", "min", "quantile", "rate", "rate_sum", "row_any", "row_max", "row_min", "sum",
	"sum_len", "uniq_values", "values",
}

// allowedNodes are the types that a parsed query may be made of, beside pipes.
// They come from the engine's parser; a type that a later version adds is
// refused until somebody has read it.
var allowedNodes = nodeSet(
	"filterAnd", "filterAnyCasePhrase", "filterAnyCasePrefix", "filterContainsAll", "filterContainsAny",
	"filterContainsCommonCase", "filterDayRange", "filterEqField", "filterEqualsCommonCase", "filterExact",
	"filterExactPrefix", "filterGeneric", "filterIn", "filterIPv4Range", "filterIPv6Range",
	"filterJSONArrayContainsAny", "filterLeField", "filterLenRange", "filterNoop", "filterNot", "filterOr",
	"filterPatternMatch", "filterPhrase", "filterPrefix", "filterRange", "filterRegexp", "filterSequence",
	"filterStream", "filterStreamID", "filterStringRange", "filterSubstring", "filterTime", "filterValueType",
	"filterWeekRange",
	"statsAny", "statsAvg", "statsCount", "statsCountEmpty", "statsCountUniq", "statsCountUniqHash", "statsFieldMax",
	"statsFieldMin", "statsHistogram", "statsJSONValues", "statsMax", "statsMedian", "statsMin", "statsQuantile",
	"statsRate", "statsRateSum", "statsRowAny", "statsRowMax", "statsRowMin", "statsSum", "statsSumLen",
	"statsUniqValues", "statsValues",
	"runningStatsCount", "runningStatsFirst", "runningStatsLast", "runningStatsMax", "runningStatsMin",
	"runningStatsSum",
)

func nodeSet(names ...string) map[string]bool {
	set := make(map[string]bool)
	for _, n := range names {
		set[n] = true
	}
	for n := range maps.Values(allowedPipes) {
		set[n] = true
	}
	return set
}

// Guard checks LogsQL that somebody outside wrote against the subset that
// docs/logsql.md describes, and returns its canonical text: the only text to
// send to an engine. hasPipes says that the query computes more than a search.
// now is the instant that relative times such as _time:5m count from.
//
// The decision is made on the engine's own parsed form, at every depth, so
// that no spelling hides a pipe; canonical text guards to itself. Errors are
// *telemetry.QueryError.
func Guard(text string, now time.Time) (canonical string, hasPipes bool, err error) {
	if len(text) > maxQueryBytes {
		return "", false, &telemetry.QueryError{Problem: fmt.Sprintf("the query is longer than %d bytes; write a shorter one", maxQueryBytes), Offset: maxQueryBytes}
	}
	if strings.TrimSpace(text) == "" {
		text = "*"
	}
	if err := checkWords(text); err != nil {
		return "", false, err
	}
	// The engine clones queries through their text and dies where that cannot
	// be parsed; and what it reads must be what was checked. So the text is
	// printed and parsed until nothing changes: parsing also simplifies.
	for i := range maxPrintings {
		q, err := parseQuery(text, now)
		if err == nil {
			canonical, hasPipes, err = inspect(q)
		}
		switch {
		case err != nil && i == 0:
			return "", false, err
		case err != nil, len(canonical) > maxQueryBytes, checkWords(canonical) != nil:
			return "", false, ambiguous()
		case canonical == text:
			return canonical, hasPipes, nil
		}
		text = canonical
	}
	return "", false, ambiguous()
}

// maxPrintings is more than simplifying takes.
const maxPrintings = 4

func ambiguous() error {
	return &telemetry.QueryError{Problem: "the query can be read in more than one way; put values and field names in double quotes and split long expressions into several pipes", Offset: -1}
}

// parseQuery parses text with the engine's parser, which panics on some faults.
func parseQuery(text string, now time.Time) (q *logstorage.Query, err error) {
	defer func() {
		if recover() != nil {
			q, err = nil, ambiguous()
		}
	}()
	q, err = logstorage.ParseQueryAtTimestamp(text, now.UnixNano())
	if err != nil {
		return nil, syntaxError(text, err)
	}
	return q, nil
}

// syntaxError turns the parser's error into one for the query's author: its
// context becomes an offset, its links and inner repetitions go.
func syntaxError(text string, err error) error {
	problem := err.Error()
	offset := -1
	if _, after, ok := strings.Cut(problem, "context: ["); ok {
		if before, _, ok := strings.Cut(after, "]"); ok && before != "" {
			if i := strings.Index(text, before); i >= 0 && i == strings.LastIndex(text, before) {
				offset = i + len(before)
			}
		}
	}
	for _, cut := range []string{"; context:", "; see http", " context: ["} {
		problem, _, _ = strings.Cut(problem, cut)
	}
	if len(problem) > maxProblemBytes {
		problem = strings.ToValidUTF8(problem[:maxProblemBytes], "") + "…"
	}
	return &telemetry.QueryError{
		Problem: "the query does not parse: " + problem + `; put text with special characters in double quotes`,
		Offset:  offset,
	}
}

// maxProblemBytes keeps an error about a long query short.
const maxProblemBytes = 300

// inspect walks the parsed query and returns its canonical text.
func inspect(q *logstorage.Query) (canonical string, hasPipes bool, err error) {
	in := inspector{growth: 1}
	defer func() {
		if p := recover(); p != nil {
			err = ambiguous()
		}
	}()
	v := reflect.ValueOf(q)
	in.walk(v, 0)
	if in.err != nil {
		return "", false, in.err
	}
	return q.String(), v.Elem().FieldByName("pipes").Len() > 0, nil
}

// An inspector reads a parsed query by reflection: the engine keeps its
// parsed form to itself.
type inspector struct {
	pipes  int
	growth int
	err    error
}

var enginePackage = reflect.TypeFor[logstorage.Query]().PkgPath()

const maxWalkDepth = 4096 // of nested values; far above what the parser's own depth gives

func (in *inspector) refuse(format string, args ...any) {
	if in.err == nil {
		in.err = &telemetry.QueryError{Problem: fmt.Sprintf(format, args...), Offset: -1}
	}
}

func (in *inspector) walk(v reflect.Value, depth int) {
	if in.err != nil {
		return
	}
	if depth > maxWalkDepth {
		in.refuse("the query is nested too deeply; write a flatter one")
		return
	}
	switch v.Kind() {
	case reflect.Interface:
		if v.IsNil() {
			return
		}
		t := v.Elem().Type()
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.PkgPath() != enginePackage {
			return
		}
		if !allowedNodes[t.Name()] {
			in.refuse("%s", refusal(t.Name()))
			return
		}
		in.walk(v.Elem(), depth+1)
	case reflect.Pointer:
		if !v.IsNil() && v.Type().Elem().PkgPath() == enginePackage {
			in.walk(v.Elem(), depth+1)
		}
	case reflect.Struct:
		if v.Type().PkgPath() != enginePackage {
			return
		}
		in.node(v)
		for i := range v.NumField() {
			in.walk(v.Field(i), depth+1)
		}
	case reflect.Slice, reflect.Array:
		switch v.Type().Elem().Kind() {
		case reflect.Interface, reflect.Pointer, reflect.Struct, reflect.Slice:
			for i := range v.Len() {
				in.walk(v.Index(i), depth+1)
			}
		}
	}
}

// node applies the rules about single nodes.
func (in *inspector) node(v reflect.Value) {
	switch v.Type().Name() {
	case "queryOptions":
		if !v.IsZero() {
			// They step outside of the time range, or take more of the machine.
			in.refuse("options(…) is not offered here; give the time range beside the query, or quote the word \"options\" to search for it")
		}
	case "Query":
		in.query(v)
	case "pipeStats":
		if v.FieldByName("mode").Int() != 0 {
			in.refuse("%s", refusal("stats_remote"))
		}
	case "pipeJoin":
		in.join(v)
	case "pipeFormat":
		in.grow(v.FieldByName("steps").Len())
	case "pipeReplace":
		in.grow(1 + v.FieldByName("newSubstr").Len()/max(1, v.FieldByName("oldSubstr").Len()))
	case "pipeReplaceRegexp":
		s := v.FieldByName("replacement").String()
		in.grow(1 + len(s) + strings.Count(s, "$"))
	case "pipePackJSON":
		in.grow(4) // the row once more, and escapes
	}
}

func (in *inspector) grow(factor int) {
	in.growth *= max(1, factor)
	if in.growth > maxGrowth {
		in.refuse("the query's format, replace and pack pipes together could make rows too large; use fewer of them")
		in.growth = 1
	}
}

func (in *inspector) query(v reflect.Value) {
	pipes := v.FieldByName("pipes")
	if in.pipes += pipes.Len(); in.pipes > maxQueryPipes {
		in.refuse("the query has more than %d pipes; write fewer", maxQueryPipes)
		return
	}
	for i := range pipes.Len() {
		// Names of fields that only rows outside of the data scope have are in
		// the same blocks; without their empty columns they are not.
		if pipeName(pipes.Index(i)) == "pipeFieldNames" && (i == 0 || pipeName(pipes.Index(i-1)) != "pipeDropEmptyFields") {
			in.refuse("write | drop_empty_fields | field_names instead of | field_names alone")
			return
		}
	}
}

func pipeName(pipe reflect.Value) string { return pipe.Elem().Elem().Type().Name() }

func (in *inspector) join(v reflect.Value) {
	pipes := v.FieldByName("q").Elem().FieldByName("pipes")
	var limit uint64
	if n := pipes.Len(); n > 0 {
		last := pipes.Index(n - 1)
		switch pipe := last.Elem().Elem(); pipeName(last) {
		case "pipeLimit", "pipeSort", "pipeTop", "pipeUniq":
			limit = pipe.FieldByName("limit").Uint()
		case "pipeFirst", "pipeLast":
			limit = pipe.FieldByName("ps").Elem().FieldByName("limit").Uint()
		}
	}
	if limit == 0 || limit > maxJoinRows {
		in.refuse("the query inside join must end with a limit of at most %d, such as join by (trace_id) (… | limit 1000)", maxJoinRows)
	}
}

// refusal says what to write instead of a word or node that is not allowed.
func refusal(name string) string {
	snake := strings.ToLower(name)
	if hint, ok := refusedPipes[snake]; ok {
		return fmt.Sprintf("the pipe %s is refused: %s", snake, hint)
	}
	for word, hint := range refusedPipes {
		if strings.EqualFold("pipe"+strings.ReplaceAll(word, "_", ""), name) {
			return fmt.Sprintf("the pipe %s is refused: %s", word, hint)
		}
	}
	return "the query uses a part of LogsQL that is not offered here"
}

// checkWords reads the text outside of quotes and comments as the engine does:
// after each | must stand a pipe's name or a stats function's. The engine
// would take any other word there for a filter, so that a misspelt or unknown
// pipe silently finds nothing. It bounds the depth before the parser recurses.
// What is allowed is decided on the parsed query, not here.
func checkWords(text string) error {
	depth := 0
	afterBar := false
	for s := (scanner{text: text}); s.next(); {
		switch word := strings.ToLower(s.token); {
		case afterBar:
			afterBar = false
			if s.quoted || allowedPipes[word] == "" && !slices.Contains(statsWords, word) {
				return wrongPipe(s, word)
			}
		case s.quoted:
		case word == "|":
			afterBar = true
		}
		if s.quoted {
			continue
		}
		switch s.token {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			depth--
		}
		if depth > maxQueryDepth {
			return &telemetry.QueryError{Problem: fmt.Sprintf("the query has more than %d nested brackets; write a flatter one", maxQueryDepth), Offset: s.start}
		}
	}
	return nil
}

func wrongPipe(s scanner, word string) error {
	problem := fmt.Sprintf("%q is not a pipe; write | filter %s to filter, and put a | that is text in double quotes", s.token, s.token)
	if _, ok := refusedPipes[word]; ok {
		problem = refusal(word)
	}
	if len(problem) > maxProblemBytes {
		problem = "the text after | is not a pipe; put a | that is text in double quotes"
	}
	return &telemetry.QueryError{Problem: problem, Offset: s.start}
}

// A scanner cuts text into the engine's tokens.
type scanner struct {
	text   string
	pos    int
	start  int // of the token
	token  string
	quoted bool
}

func (s *scanner) next() bool {
	s.skip()
	if s.pos == len(s.text) {
		return false
	}
	s.start = s.pos
	rest := s.text[s.pos:]
	size, quoted := quotedSize(rest)
	if !quoted {
		size = strings.IndexFunc(rest, func(r rune) bool { return !isWordRune(r) })
		switch size {
		case -1:
			size = len(rest)
		case 0:
			_, size = utf8.DecodeRuneInString(rest)
		}
	}
	s.token, s.quoted = rest[:size], quoted
	s.pos += size
	return true
}

// skip moves past white space and comments.
func (s *scanner) skip() {
	for s.pos < len(s.text) {
		r, size := utf8.DecodeRuneInString(s.text[s.pos:])
		switch {
		case r == '#':
			line := strings.IndexByte(s.text[s.pos:], '\n')
			if line < 0 {
				s.pos = len(s.text)
				return
			}
			s.pos += line + 1
		case unicode.IsSpace(r):
			s.pos += size
		default:
			return
		}
	}
}

func isWordRune(r rune) bool {
	return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r)
}

func quotedSize(s string) (size int, ok bool) {
	switch s[0] {
	case '"', '`':
		quoted, err := strconv.QuotedPrefix(s)
		return len(quoted), err == nil
	case '\'':
		rest := s[1:]
		for !strings.HasPrefix(rest, "'") {
			_, _, tail, err := strconv.UnquoteChar(rest, '\'')
			if err != nil {
				return 0, false
			}
			rest = tail
		}
		return len(s) - len(rest) + 1, true
	}
	return 0, false
}
