package victoria

import (
	"reflect"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

// uniqValues is a function that a cluster must not be asked for: the process
// that answers for all teams dies where one storage node has rows of a group
// and none of the field, and another has values (an assignment to a nil map in
// statsUniqValuesProcessor.mergeState). One node alone does not.
const (
	uniqValues     = "uniq_values"
	uniqValuesNode = "statsUniqValues"
)

// refuseOnClusters refuses a query, in its canonical text, that a cluster would
// not survive.
func refuseOnClusters(canonical string, now time.Time) error {
	if !strings.Contains(canonical, uniqValues) {
		return nil
	}
	q, err := parseQuery(canonical, now)
	if err != nil {
		return err
	}
	if holdsNode(reflect.ValueOf(q), uniqValuesNode, 0) {
		return &telemetry.QueryError{
			Problem: "uniq_values(f) is not offered by this engine, which is a cluster; write | uniq by (f) for the values, | top 10 by (f) for the most frequent, or stats values(f)", Offset: -1,
		}
	}
	return nil
}

// holdsNode says whether a parsed query has a node of the type in any place:
// rather one query too many is refused.
func holdsNode(v reflect.Value, name string, depth int) bool {
	if depth > maxWalkDepth {
		return true
	}
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		return !v.IsNil() && holdsNode(v.Elem(), name, depth+1)
	case reflect.Struct:
		if !strings.HasPrefix(v.Type().PkgPath(), engineModule) {
			return false
		}
		if v.Type().Name() == name {
			return true
		}
		for i := range v.NumField() {
			if holdsNode(v.Field(i), name, depth+1) {
				return true
			}
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return false
		}
		for i := range v.Len() {
			if holdsNode(v.Index(i), name, depth+1) {
				return true
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if holdsNode(it.Key(), name, depth+1) || holdsNode(it.Value(), name, depth+1) {
				return true
			}
		}
	}
	return false
}
