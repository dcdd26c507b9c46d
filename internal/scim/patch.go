package scim

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// maxOperations bounds a PATCH and a bulk request.
const maxOperations = 1000

// patch is a PATCH request (RFC 7644 §3.5.2).
type patch struct {
	Schemas    []string    `json:"schemas"`
	Operations []operation `json:"Operations"`
}

type operation struct {
	Op    string          `json:"op"`
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value"`
}

// apply changes a resource as the operations say, all or none: it works on a
// copy, which it returns.
//
// What identity providers really send is taken too: operations named in
// capitals, values without a path whose members are paths, booleans as text,
// and the removal of members by value instead of by filter.
func (p patch) apply(resource map[string]any) (map[string]any, error) {
	if len(p.Operations) == 0 {
		return nil, invalid("invalidSyntax", "the request has no Operations")
	}
	if len(p.Operations) > maxOperations {
		return nil, &Error{Status: 413, Type: "tooMany", Detail: fmt.Sprintf("the request has more than %d operations", maxOperations)}
	}
	out := deepCopy(resource).(map[string]any)
	for i, op := range p.Operations {
		if err := op.apply(out); err != nil {
			if e, ok := err.(*Error); ok {
				return nil, &Error{e.Status, e.Type, fmt.Sprintf("operation %d: %s", i+1, e.Detail)}
			}
			return nil, err
		}
	}
	return out, nil
}

func deepCopy(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = deepCopy(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = deepCopy(e)
		}
		return out
	}
	return v
}

func (o operation) apply(r map[string]any) error {
	op := strings.ToLower(o.Op)
	var value any
	if len(o.Value) > 0 {
		if err := json.Unmarshal(o.Value, &value); err != nil {
			return invalid("invalidSyntax", "the value is no JSON")
		}
	}
	switch op {
	case "add", "replace":
		if len(o.Value) == 0 {
			return invalid("invalidValue", "%s needs a value", op)
		}
	case "remove":
		if o.Path == "" {
			return invalid("noTarget", "remove needs a path")
		}
	default:
		return invalid("invalidSyntax", "op must be add, replace or remove")
	}
	if o.Path != "" {
		return target(r, op, o.Path, value)
	}
	members, ok := value.(map[string]any)
	if !ok {
		return invalid("invalidValue", "without a path the value must be an object")
	}
	// In a fixed order, so that the same request has the same outcome.
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if err := target(r, op, name, members[name]); err != nil {
			return err
		}
	}
	return nil
}

// target applies one operation to what a path names: attribute,
// attribute.sub, attribute[filter] or attribute[filter].sub.
func target(r map[string]any, op, text string, value any) error {
	p := filterParser{rest: text, whole: text}
	at, err := p.path()
	if err != nil {
		return invalid("invalidPath", "%q is no path", text)
	}
	if strings.HasPrefix(at.attribute, "urn:") || at.attribute == "schemas" {
		return nil // an extension that is not kept here, as for PUT and POST
	}
	if readOnly[at.attribute] {
		if at.attribute == "id" || at.attribute == "meta" {
			return nil // sent along by clients that send the whole resource
		}
		return invalid("mutability", "%s cannot be changed", at.attribute)
	}
	if p.rest == "" {
		return set(r, op, at, value)
	}
	rest, ok := strings.CutPrefix(p.rest, "[")
	if !ok || at.sub != "" {
		return invalid("invalidPath", "%q is no path", text)
	}
	p.rest = rest
	f, err := p.or(0)
	if err == nil {
		err = p.close("]")
	}
	if err != nil {
		return invalid("invalidPath", "%q: %v", text, err)
	}
	sub := ""
	if p.rest != "" {
		if sub, ok = strings.CutPrefix(p.rest, "."); !ok || sub == "" || strings.ContainsAny(sub, ".[") {
			return invalid("invalidPath", "%q is no path", text)
		}
	}
	return setWhere(r, op, at.attribute, f, sub, value)
}

// readOnly are attributes that the server alone writes.
var readOnly = map[string]bool{"id": true, "meta": true, "groups": true}

// name returns the spelling under which an object has a member, or as it is
// asked for.
func name(m map[string]any, wanted string) string {
	for k := range m {
		if strings.EqualFold(k, wanted) {
			return k
		}
	}
	return wanted
}

// multi are the attributes that are lists.
var multi = map[string]bool{"emails": true, "members": true}

func set(r map[string]any, op string, at path, value any) error {
	key := name(r, at.attribute)
	if at.sub != "" {
		if multi[at.attribute] {
			return invalid("invalidPath", "%s is a list: say of which entry, with a filter in brackets", at.attribute)
		}
		inner, _ := r[key].(map[string]any)
		if inner == nil {
			if op == "remove" {
				return nil
			}
			inner = make(map[string]any)
			r[key] = inner
		}
		return set(inner, op, path{attribute: at.sub}, value)
	}
	if !multi[at.attribute] {
		switch {
		case op == "remove" || value == nil:
			delete(r, key)
		case op == "add" && isObject(r[key]) && isObject(value):
			maps.Copy(r[key].(map[string]any), value.(map[string]any))
		default:
			r[key] = value
		}
		return nil
	}
	switch op {
	case "replace":
		r[key] = values(value)
	case "add":
		have := values(r[key])
		for _, v := range values(value) {
			if !slices.ContainsFunc(have, func(h any) bool { return sameEntry(h, v) }) {
				have = append(have, v)
			}
		}
		r[key] = have
	case "remove":
		gone := values(value)
		if value == nil {
			delete(r, key)
			return nil
		}
		r[key] = slices.DeleteFunc(values(r[key]), func(h any) bool {
			return slices.ContainsFunc(gone, func(g any) bool { return sameEntry(h, g) })
		})
	}
	return nil
}

func isObject(v any) bool { _, ok := v.(map[string]any); return ok }

// sameEntry says whether two entries of a list are the same thing: they have
// the same value.
func sameEntry(a, b any) bool {
	x, _ := a.(map[string]any)
	y, _ := b.(map[string]any)
	if x == nil || y == nil {
		return reflect.DeepEqual(a, b)
	}
	return member(x, "value") != nil && member(x, "value") == member(y, "value")
}

// setWhere changes the entries of a list that a filter matches.
func setWhere(r map[string]any, op, attribute string, f filter, sub string, value any) error {
	key := name(r, attribute)
	list := values(r[key])
	matched := false
	kept := list[:0:0]
	for _, e := range list {
		entry, ok := e.(map[string]any)
		if !ok || !f.matches(entry) {
			kept = append(kept, e)
			continue
		}
		matched = true
		switch {
		case op == "remove" && sub == "":
			continue
		case op == "remove":
			delete(entry, name(entry, sub))
		case sub != "":
			entry[name(entry, sub)] = value
		default:
			object, ok := value.(map[string]any)
			if !ok {
				return invalid("invalidValue", "an entry of %s must be an object", attribute)
			}
			if op == "replace" {
				entry = object
			} else {
				maps.Copy(entry, object)
			}
		}
		kept = append(kept, entry)
	}
	if !matched {
		// Entra ID sets emails[type eq "work"].value on people who have no
		// such entry yet, and means: add it.
		c, ok := f.(comparison)
		if op == "remove" || sub == "" || !ok || c.op != "eq" || c.attribute.sub != "" {
			if op == "remove" {
				return nil
			}
			return invalid("noTarget", "no entry of %s matches the filter", attribute)
		}
		kept = append(kept, map[string]any{c.attribute.attribute: c.value, sub: value})
	}
	r[key] = kept
	return nil
}

func invalid(scimType, format string, args ...any) error {
	return &Error{Status: 400, Type: scimType, Detail: fmt.Sprintf(format, args...)}
}
