package telemetry

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of hidden fields: they are sent with every query.
const (
	maxHiddenFields     = 100
	maxHiddenFieldBytes = 114 // the longest name of a resource attribute
)

// ParseHiddenFields checks names of fields that somebody must not see, as
// people write them: attribute names such as user.email, and _msg for the
// message of a log record and of a span's status. A name also hides what lies below it: user hides user.email. The
// result is sorted, each name once.
func ParseHiddenFields(names []string) ([]string, error) {
	var out []string
	for _, name := range names {
		name = plainName(strings.TrimSpace(name))
		switch {
		case name == "":
			continue
		case len(name) > maxHiddenFieldBytes:
			return nil, fmt.Errorf("the name of a hidden field is longer than %d bytes", maxHiddenFieldBytes)
		case name[0] == '_' && name != FieldMessage:
			return nil, fmt.Errorf("%q cannot be hidden: it is a field of every record (_msg, the message, can be)", name)
		case !utf8.ValidString(name) || strings.ContainsAny(name, "*,\"") || strings.ContainsFunc(name, unicode.IsControl):
			return nil, fmt.Errorf("%q is not the name of a field (write it like user.email; a name also hides what lies below it)", name)
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	if len(out) > maxHiddenFields {
		return nil, errors.New("more than 100 hidden fields; hide a name above them, such as user for user.email and user.name")
	}
	slices.Sort(out)
	return out, nil
}

// Hides says whether hiding the names hides the named field, however it is
// stored.
func Hides(hidden []string, field string) bool {
	field = plainName(field)
	return slices.ContainsFunc(hidden, func(h string) bool {
		return field == h || strings.HasPrefix(field, h) && field[len(h)] == '.' ||
			h == FieldMessage && field == FieldStatusMessage
	})
}

// HidesLabel says whether hiding the names hides a metric's label. Labels do
// not tell user.agent from user_agent, so that hiding user hides both.
func HidesLabel(hidden []string, label string) bool {
	return slices.ContainsFunc(hidden, func(h string) bool {
		h = LabelName(h)
		return label == h || strings.HasPrefix(label, h) && label[len(h)] == '_'
	})
}

// plainName returns the name that an attribute had before it was stored.
func plainName(name string) string {
next:
	for {
		for _, prefix := range []string{AttributePrefix, ResourcePrefix, SpanAttributePrefix, ScopeAttributePrefix} {
			if rest, ok := strings.CutPrefix(name, prefix); ok {
				name = rest
				continue next
			}
		}
		for _, prefix := range []string{EventAttributePrefix, LinkAttributePrefix} {
			if rest, ok := strings.CutPrefix(name, prefix); ok {
				if i := strings.LastIndexByte(rest, ':'); i >= 0 {
					rest = rest[:i] // the number
				}
				name = rest
				continue next
			}
		}
		return name
	}
}
