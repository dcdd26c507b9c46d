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

func (c *counts) check() error {
	switch {
	case c.records > maxRecords:
		return &tooLargeError{fmt.Sprintf("the request has more than %d log records; send smaller batches", maxRecords)}
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

// message kinds of the OTLP logs schema, as far as they hold other messages.
type kind uint8

const (
	kindRequest kind = iota
	kindResourceLogs
	kindResource
	kindScopeLogs
	kindScope
	kindRecord
	kindKeyValue
	kindAny
	kindArray
	kindKVList
	kindEntityRef
	kindNone
)

// child returns the kind of the message in field num of k
// (opentelemetry/proto/logs/v1/logs.proto, common.proto, resource.proto).
func (k kind) child(num protowire.Number) kind {
	switch {
	case k == kindRequest && num == 1:
		return kindResourceLogs
	case k == kindResourceLogs && num == 1:
		return kindResource
	case k == kindResourceLogs && num == 2:
		return kindScopeLogs
	case k == kindResource && num == 1, k == kindScope && num == 3, k == kindRecord && num == 6, k == kindKVList && num == 1:
		return kindKeyValue
	case k == kindResource && num == 3:
		return kindEntityRef
	case k == kindScopeLogs && num == 1:
		return kindScope
	case k == kindScopeLogs && num == 2:
		return kindRecord
	case k == kindRecord && num == 5, k == kindKeyValue && num == 2, k == kindArray && num == 1:
		return kindAny
	case k == kindAny && num == 5:
		return kindArray
	case k == kindAny && num == 6:
		return kindKVList
	}
	return kindNone
}

// scanProto checks the counts and the nesting of an ExportLogsServiceRequest.
func scanProto(data []byte) error {
	type frame struct {
		end  int
		kind kind
	}
	// The four outer levels, and three for each level of a value.
	const maxFrames = 5 + 3*maxValueDepth
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
		next := cur.kind.child(num)
		switch next {
		case kindRecord:
			c.records++
		case kindResourceLogs, kindScopeLogs:
			c.groups++
		case kindNone:
			if cur.kind == kindEntityRef {
				c.values++ // entity references hold lists of names
			}
			pos += int(size)
		default:
			c.values++
		}
		if err := c.check(); err != nil {
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

// maxJSONDepth allows for the seven brackets around a record and four for each
// level of a value: {"arrayValue":{"values":[ { and {"kvlistValue":{"values":[ {"value":.
const maxJSONDepth = 8 + 4*maxValueDepth

// scanJSON does the same for a request in JSON, which must be valid.
func scanJSON(data []byte) error {
	var stack [maxJSONDepth + 1]byte // opening brackets; stack[0] is unused
	depth := 0
	var c counts
	// element counts one element of the array at depth.
	element := func() {
		// {"resourceLogs":[{"scopeLogs":[{"logRecords":[: depths 1 to 6.
		const path = "{[{[{["
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
		if err := c.check(); err != nil {
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
