package ingest

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// The decoders recurse into values and make an object of some 50 to 250 bytes
// for an element that takes 2 bytes on the wire. These scans look at the
// structure first, without recursion or allocation, so that neither a stack nor
// the heap grows beyond what the limits allow.

// A tooLargeError says which limit a request exceeds.
type tooLargeError struct{ what string }

func (e *tooLargeError) Error() string { return e.what }

var errMalformed = errors.New("malformed protobuf")

type counts struct{ records, groups, values int }

func (c *counts) check(sig signal) error {
	switch {
	case c.records > maxRecords:
		return &tooLargeError{fmt.Sprintf("the request has more than %d %s; send smaller batches", maxRecords, sig)}
	case c.groups > maxRecords:
		return &tooLargeError{fmt.Sprintf("the request has more than %d resource or scope groups; send smaller batches", maxRecords)}
	case c.values > maxValues:
		return &tooLargeError{fmt.Sprintf("the request has more than %d values; send smaller batches", maxValues)}
	}
	return nil
}

func errTooDeep() error {
	return &tooLargeError{fmt.Sprintf("attribute values are nested deeper than %d levels", maxValueDepth)}
}

// A signal is what a request carries, in the words of messages and metrics.
type signal string

const (
	signalLogs    signal = "log records"
	signalSpans   signal = "spans"
	signalMetrics signal = "data points"
)

// request names the signal's request.
func (s signal) request() string {
	switch s {
	case signalSpans:
		return "trace"
	case signalMetrics:
		return "metrics"
	}
	return "logs"
}

// message kinds of the OTLP schema, as far as they hold other messages.
type kind uint8

const (
	kindNone kind = iota
	kindRequest
	kindResourceGroup
	kindResource
	kindScopeGroup
	kindScope
	kindKeyValue
	kindAny
	kindArray
	kindKVList
	kindEntityRef

	kindLogRecord

	kindSpan
	kindEvent
	kindLink

	kindMetric
	kindNumbers // Gauge or Sum
	kindHistogram
	kindExponential
	kindSummary
	kindNumberPoint
	kindHistogramPoint
	kindExponentialPoint
	kindSummaryPoint
	kindExemplar
	kindQuantile
)

// A field is the place of one message in another.
type field struct {
	of  kind
	num protowire.Number
}

// A schema is the tree of messages of a signal's request: the kind of the
// message in a field of another.
type schema [kindQuantile + 1][maxFieldNumber + 1]kind

// maxFieldNumber is the highest number of a field that holds a message.
const maxFieldNumber = 13

func newSchema(own map[field]kind) *schema {
	var s schema
	for _, fields := range []map[field]kind{commonFields(), own} {
		for f, k := range fields {
			s[f.of][f.num] = k
		}
	}
	return &s
}

func (s *schema) child(of kind, num protowire.Number) kind {
	if num > maxFieldNumber {
		return kindNone
	}
	return s[of][num]
}

// commonFields and schemas are the trees of
// opentelemetry/proto/{common,resource,logs,trace,metrics}/v1.
func commonFields() map[field]kind {
	return map[field]kind{
		{kindRequest, 1}:       kindResourceGroup,
		{kindResourceGroup, 1}: kindResource,
		{kindResourceGroup, 2}: kindScopeGroup,
		{kindResource, 1}:      kindKeyValue,
		{kindResource, 3}:      kindEntityRef,
		{kindScopeGroup, 1}:    kindScope,
		{kindScope, 3}:         kindKeyValue,
		{kindKeyValue, 2}:      kindAny,
		{kindAny, 5}:           kindArray,
		{kindAny, 6}:           kindKVList,
		{kindArray, 1}:         kindAny,
		{kindKVList, 1}:        kindKeyValue,
	}
}

var schemas = map[signal]*schema{
	signalLogs: newSchema(map[field]kind{
		{kindScopeGroup, 2}: kindLogRecord,
		{kindLogRecord, 5}:  kindAny,
		{kindLogRecord, 6}:  kindKeyValue,
	}),
	signalSpans: newSchema(map[field]kind{
		{kindScopeGroup, 2}: kindSpan,
		{kindSpan, 9}:       kindKeyValue,
		{kindSpan, 11}:      kindEvent,
		{kindSpan, 13}:      kindLink,
		{kindEvent, 3}:      kindKeyValue,
		{kindLink, 4}:       kindKeyValue,
	}),
	signalMetrics: newSchema(map[field]kind{
		{kindScopeGroup, 2}: kindMetric,
		{kindMetric, 5}:     kindNumbers,
		{kindMetric, 7}:     kindNumbers,
		{kindMetric, 9}:     kindHistogram,
		{kindMetric, 10}:    kindExponential,
		{kindMetric, 11}:    kindSummary,
		{kindMetric, 12}:    kindKeyValue,

		{kindNumbers, 1}:     kindNumberPoint,
		{kindHistogram, 1}:   kindHistogramPoint,
		{kindExponential, 1}: kindExponentialPoint,
		{kindSummary, 1}:     kindSummaryPoint,

		{kindNumberPoint, 5}:       kindExemplar,
		{kindNumberPoint, 7}:       kindKeyValue,
		{kindHistogramPoint, 8}:    kindExemplar,
		{kindHistogramPoint, 9}:    kindKeyValue,
		{kindExponentialPoint, 1}:  kindKeyValue,
		{kindExponentialPoint, 11}: kindExemplar,
		{kindSummaryPoint, 6}:      kindQuantile,
		{kindSummaryPoint, 7}:      kindKeyValue,
		{kindExemplar, 7}:          kindKeyValue,
	}),
}

// scanProto checks the counts and the nesting of a request.
func scanProto(sig signal, data []byte) error {
	tree := schemas[sig]
	type frame struct {
		end  int
		kind kind
	}
	// The outer levels, and three for each level of a value.
	const maxFrames = 8 + 3*maxValueDepth
	var stack [maxFrames]frame
	stack[0] = frame{len(data), kindRequest}
	top, pos := 0, 0
	var c counts
	for {
		for top > 0 && pos == stack[top].end {
			top--
		}
		cur := stack[top]
		if pos == cur.end {
			return nil
		}
		num, typ, n := protowire.ConsumeTag(data[pos:cur.end])
		if n < 0 {
			return errMalformed
		}
		pos += n
		if typ != protowire.BytesType {
			// Groups are consumed by protowire with a depth limit of its own.
			n := protowire.ConsumeFieldValue(num, typ, data[pos:cur.end])
			if n < 0 {
				return errMalformed
			}
			pos += n
			continue
		}
		size, n := protowire.ConsumeVarint(data[pos:cur.end])
		if n < 0 || size > uint64(cur.end-pos-n) {
			return errMalformed
		}
		pos += n
		next := tree.child(cur.kind, num)
		switch next {
		case kindLogRecord, kindSpan, kindNumberPoint, kindHistogramPoint, kindExponentialPoint, kindSummaryPoint:
			c.records++
		case kindResourceGroup, kindScopeGroup, kindMetric:
			c.groups++
		case kindNone:
			if cur.kind == kindEntityRef {
				c.values++ // entity references hold lists of names
			}
			pos += int(size)
		default:
			c.values++
		}
		if err := c.check(sig); err != nil {
			return err
		}
		if next == kindNone {
			continue
		}
		if top+1 == maxFrames {
			return errTooDeep()
		}
		top++
		stack[top] = frame{pos + int(size), next}
	}
}

// maxJSONDepth allows for the brackets around a record, or an exemplar of a data
// point, and four for each level of a value: {"arrayValue":{"values":[ { and
// {"kvlistValue":{"values":[ {"value":.
const maxJSONDepth = 13 + 4*maxValueDepth

// scanJSON does the same for a request in JSON, which must be valid.
func scanJSON(sig signal, data []byte) error {
	var stack [maxJSONDepth + 1]byte // opening brackets; stack[0] is unused
	depth := 0
	var c counts
	// element counts one element of the array at depth.
	element := func() {
		// {"resourceLogs":[{"scopeLogs":[{"logRecords":[: depths 1 to 6, and
		// {"gauge":{"dataPoints":[ in metrics: 7 to 9.
		path := "{[{[{["
		if sig == signalMetrics {
			path = "{[{[{[{{["
		}
		for i := 1; i <= depth && depth <= len(path); i++ {
			if stack[i] != path[i-1] {
				c.values++
				return
			}
		}
		switch depth {
		case 2, 4:
			c.groups++
		case 6:
			if sig == signalMetrics {
				c.groups++
			} else {
				c.records++
			}
		case 9:
			c.records++
		default:
			c.values++
		}
	}
	for i := 0; i < len(data); i++ {
		switch b := data[i]; b {
		case '"':
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			if depth == maxJSONDepth {
				return errTooDeep()
			}
			depth++
			stack[depth] = b
			if b == '[' && !emptyArray(data[i+1:]) {
				element()
			}
		case '}', ']':
			depth--
			if depth < 0 {
				return errors.New("malformed JSON")
			}
		case ',':
			if stack[depth] == '[' {
				element()
			}
		}
		if err := c.check(sig); err != nil {
			return err
		}
	}
	return nil
}

func emptyArray(rest []byte) bool {
	for _, b := range rest {
		switch b {
		case ' ', '\t', '\r', '\n':
		default:
			return b == ']'
		}
	}
	return false
}
