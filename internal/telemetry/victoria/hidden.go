package victoria

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

// The engine's own fields that hold values of others: a stream is named by
// attributes of the resource, and its id tells streams apart.
const (
	fieldStream   = "_stream"
	fieldStreamID = "_stream_id"
)

// hiddenPrefixes are those under which ingest stores an attribute; see
// rowWriter.
var hiddenPrefixes = []string{
	"", telemetry.ResourcePrefix, telemetry.AttributePrefix,
	telemetry.AttributePrefix + telemetry.AttributePrefix, telemetry.AttributePrefix + telemetry.ResourcePrefix,
	telemetry.SpanAttributePrefix, telemetry.ScopeAttributePrefix,
	telemetry.SpanAttributePrefix + telemetry.SpanAttributePrefix, telemetry.SpanAttributePrefix + telemetry.ResourcePrefix,
}

// hiddenNumbered are those whose names end in a colon and a number.
var hiddenNumbered = []string{telemetry.EventAttributePrefix, telemetry.LinkAttributePrefix}

// hiddenFilters is the engine's parameter that makes fields disappear from
// everything that a query reads, at any depth: to the query they do not exist.
//
// The names of streams are always among them, unless the query asks for them:
// the engine leaves out rows whose stream it cannot name, and for about a
// second it cannot name a new one.
func hiddenFilters(canonical string, hidden []string) string {
	if len(hidden) == 0 && strings.Contains(canonical, fieldStream) {
		return ""
	}
	filters := []string{fieldStream, fieldStreamID}
	for _, name := range hidden {
		if name == telemetry.FieldMessage {
			filters = append(filters, "", telemetry.FieldStatusMessage) // the engine's inner name for it, and a span's
		}
		for _, prefix := range hiddenPrefixes {
			filters = append(filters, prefix+name, prefix+name+".*")
		}
		for _, prefix := range hiddenNumbered {
			filters = append(filters, prefix+name+":*", prefix+name+".*")
		}
	}
	b, err := json.Marshal(filters)
	if err != nil {
		panic(fmt.Sprintf("encode strings: %v", err)) // not possible
	}
	return string(b)
}

// refuseStreams refuses a query, in its canonical text, that names streams: the
// engine looks at their names before it hides anything.
func refuseStreams(canonical string, now time.Time) error {
	q, err := parseQuery(canonical, now)
	if err != nil {
		return err
	}
	if namesStreams(reflect.ValueOf(q), 0) {
		return &telemetry.QueryError{
			Problem: "{…}, _stream and _stream_id are not offered where fields are hidden; filter by attributes instead, such as service.name:=checkout", Offset: -1,
		}
	}
	return nil
}

// engineModule starts the paths of the engine's packages.
var engineModule = strings.TrimSuffix(enginePackage, "lib/logstorage")

// namesStreams says whether a parsed query holds a stream filter or one of the
// names of streams, in any place: rather one query too many is refused.
func namesStreams(v reflect.Value, depth int) bool {
	if depth > maxWalkDepth {
		return true
	}
	switch v.Kind() {
	case reflect.String:
		return v.String() == fieldStream || v.String() == fieldStreamID
	case reflect.Interface, reflect.Pointer:
		return !v.IsNil() && namesStreams(v.Elem(), depth+1)
	case reflect.Struct:
		if !strings.HasPrefix(v.Type().PkgPath(), engineModule) {
			return false
		}
		if name := v.Type().Name(); name == "filterStream" || name == "filterStreamID" {
			return true
		}
		for i := range v.NumField() {
			if namesStreams(v.Field(i), depth+1) {
				return true
			}
		}
	case reflect.Slice, reflect.Array:
		if k := v.Type().Elem().Kind(); k == reflect.Uint8 {
			return false
		}
		for i := range v.Len() {
			if namesStreams(v.Index(i), depth+1) {
				return true
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if namesStreams(it.Key(), depth+1) || namesStreams(it.Value(), depth+1) {
				return true
			}
		}
	}
	return false
}

// scopeOf writes the view's data scope as LogsQL, "" for none. A scope that
// goes by a hidden field matches nothing: the engine would read the field as
// missing, and a condition with not would match everything.
func scopeOf(view telemetry.View) string {
	f := view.Filter()
	if f == nil {
		return ""
	}
	hidden := view.Hidden()
	for _, name := range f.Names() {
		if telemetry.Hides(hidden, name) {
			return "!*"
		}
	}
	return compileFilter(f)
}

// withoutHidden drops what a row must not show. The engine has left it out
// already; this holds if it should forget to.
func withoutHidden(rows []telemetry.LogRow, hidden []string) {
	if len(hidden) == 0 {
		return
	}
	for i := range rows {
		kept := rows[i].Fields[:0]
		for _, f := range rows[i].Fields {
			if !telemetry.Hides(hidden, f.Name) {
				kept = append(kept, f)
			}
		}
		rows[i].Fields = kept
	}
}
