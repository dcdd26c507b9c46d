package tools

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// arguments are those of one call. Values are strict in meaning and lenient in
// form: assistants send numbers as strings and one value where a list is
// asked for. null, "" and an empty list are the same as leaving it out.
type arguments struct{ values map[string]any }

// parseArguments reads the arguments of a call to the tool and refuses names
// that are not valid. Errors are problems.
func parseArguments(tool string, raw json.RawMessage, valid ...string) (arguments, error) {
	a := arguments{values: make(map[string]any)}
	if len(bytes.TrimSpace(raw)) == 0 {
		return a, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // a time in nanoseconds does not fit into a float
	if err := d.Decode(&a.values); err != nil {
		return a, problemf("The arguments of %s must be a JSON object: %s.", tool, clip(err.Error(), maxQuoted))
	}
	if _, err := d.Token(); err != io.EOF {
		return a, problemf("The arguments of %s must be one JSON object and nothing after it.", tool)
	}
	var unknown []string
	for name := range a.values {
		if !slices.Contains(valid, name) {
			unknown = append(unknown, strconv.Quote(clip(name, maxQuoted)))
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		if len(unknown) > maxUnknown {
			unknown = append(unknown[:maxUnknown], "…")
		}
		have := "it takes none"
		if len(valid) > 0 {
			have = "the valid ones are " + strings.Join(valid, ", ")
		}
		return a, problemf("%s has no argument %s; %s.", tool, strings.Join(unknown, ", "), have)
	}
	return a, nil
}

const (
	// maxQuoted bounds, in bytes, what an error repeats of an argument.
	maxQuoted = 100
	// maxUnknown bounds how many unknown arguments an error names.
	maxUnknown = 10
)

// scalar returns a string, number or boolean as text.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return strings.TrimSpace(v), true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// text returns one value, "" where it is absent.
func (a arguments) text(name string) (string, error) {
	list, err := a.list(name)
	switch {
	case err != nil:
		return "", err
	case len(list) == 0:
		return "", nil
	case len(list) > 1:
		return "", problemf("%s takes one value, not %d.", name, len(list))
	}
	return list[0], nil
}

// query returns a value that is text in a language: never taken for a list.
func (a arguments) query(name string) (string, error) {
	v := a.values[name]
	if v == nil {
		return "", nil
	}
	s, ok := scalar(v)
	if !ok {
		return "", problemf("%s must be a string.", name)
	}
	return s, nil
}

// list returns the values, none where it is absent.
func (a arguments) list(name string) ([]string, error) {
	v := a.values[name]
	if s, ok := v.(string); ok && strings.HasPrefix(strings.TrimSpace(s), "[") {
		// Some clients send lists as their JSON text.
		var items []string
		if json.Unmarshal([]byte(s), &items) == nil {
			return dropEmpty(items), nil
		}
	}
	if v == nil {
		return nil, nil
	}
	items, ok := v.([]any)
	if !ok {
		items = []any{v}
	}
	out := make([]string, len(items))
	for i, item := range items {
		if item == nil {
			continue
		}
		if out[i], ok = scalar(item); !ok {
			return nil, problemf("%s must be a string or a list of strings.", name)
		}
	}
	return dropEmpty(out), nil
}

func dropEmpty(items []string) []string {
	return slices.DeleteFunc(items, func(s string) bool { return strings.TrimSpace(s) == "" })
}

// number returns a whole number between least and most, otherwise where it is
// absent.
func (a arguments) number(name string, least, most, otherwise int) (int, error) {
	s, err := a.text(name)
	if err != nil {
		return 0, err
	}
	if s == "" {
		return otherwise, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != math.Trunc(f) || f < float64(least) || f > float64(most) {
		return 0, problemf("%s is %s; it must be a whole number from %d to %d, such as %d.", name, quoteArgument(s), least, most, otherwise)
	}
	return int(f), nil
}

func quoteArgument(s string) string { return fmt.Sprintf("%q", clip(s, maxQuoted)) }

// flag returns a boolean, false where it is absent.
func (a arguments) flag(name string) (bool, error) {
	s, err := a.text(name)
	switch {
	case err != nil || s == "":
		return false, err
	case strings.EqualFold(s, "true") || s == "1":
		return true, nil
	case strings.EqualFold(s, "false") || s == "0":
		return false, nil
	}
	return false, problemf("%s is %s; it must be true or false.", name, quoteArgument(s))
}
