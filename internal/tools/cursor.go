package tools

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/org"
)

// A position is where an answer ended, so that the next one can go on there.
type position struct {
	// start and end are the window of the first page: later pages keep it
	// while the clock moves on.
	start, end time.Time
	// offset is how many rows were shown, for answers in an order that a
	// second query repeats.
	offset int
	// before is the instant of the oldest row shown, for answers that go back
	// in time; shown are the hashes of the rows of that very instant.
	before time.Time
	shown  []uint32
}

// Sizes of a cursor.
const (
	cursorVersion  = 1
	cursorMACBytes = 16 // 128 bits: nobody guesses one within its hour
	// maxCursorShown bounds position.shown, and with it the cursor: 1 KiB.
	maxCursorShown = 128
	maxCursorBytes = 2 << 10
)

// errCursor is what every cursor gets that this caller did not get for this
// very question. It does not say which part is wrong.
var errCursor = problem("The cursor is not for this call: it works with the same other arguments (all but max_tokens), " +
	"for the person, connection and data scope that got it, until that hour ended. Call again without cursor.")

// seal returns the position as text that only this caller can use, with this
// tool and these arguments, until the connection's hour ends.
func (c *call) seal(p position) string {
	b := []byte{cursorVersion}
	b = binary.AppendVarint(b, c.caller.Expires().Unix())
	b = binary.AppendVarint(b, p.start.UnixNano())
	b = binary.AppendVarint(b, p.end.UnixNano())
	b = binary.AppendUvarint(b, uint64(p.offset))
	if p.before.IsZero() {
		b = append(b, 0)
	} else {
		b = append(b, 1)
		b = binary.AppendVarint(b, p.before.UnixNano())
		b = binary.AppendUvarint(b, uint64(len(p.shown)))
		for _, h := range p.shown {
			b = binary.BigEndian.AppendUint32(b, h)
		}
	}
	return base64.RawURLEncoding.EncodeToString(append(b, c.cursorMAC(b)...))
}

// unseal reads a cursor of seal's. Errors are problems.
func (c *call) unseal(text string) (position, error) {
	var p position
	if len(text) > maxCursorBytes {
		return p, errCursor
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) <= cursorMACBytes {
		return p, errCursor
	}
	b, mac := b[:len(b)-cursorMACBytes], b[len(b)-cursorMACBytes:]
	if !hmac.Equal(mac, c.cursorMAC(b)) || b[0] != cursorVersion {
		return p, errCursor
	}
	r := cursorReader{b: b[1:]}
	if expires := time.Unix(r.varint(), 0); !c.now.Before(expires) {
		return p, errCursor
	}
	p.start, p.end = time.Unix(0, r.varint()).UTC(), time.Unix(0, r.varint()).UTC()
	p.offset = int(r.uvarint())
	if r.byte() == 1 {
		p.before = time.Unix(0, r.varint()).UTC()
		for n := r.uvarint(); n > 0 && r.err == nil; n-- {
			p.shown = append(p.shown, r.uint32())
		}
	}
	if r.err != nil || len(r.b) > 0 {
		// The code is right and the content is not: this is our own fault.
		return position{}, fmt.Errorf("read a cursor: %w", errors.Join(r.err, errors.New("malformed")))
	}
	return p, nil
}

// cursorMAC binds a cursor's content to who got it, what they could see and
// what they asked.
func (c *call) cursorMAC(content []byte) []byte {
	h := hmac.New(sha256.New, c.set.CursorKey)
	part := func(b []byte) {
		_ = binary.Write(h, binary.BigEndian, uint32(len(b)))
		h.Write(b)
	}
	part([]byte("oriel tool cursor"))
	part([]byte(c.tool.Name))
	part([]byte(c.caller.Person().ID))
	part([]byte(c.caller.Grant()))
	part([]byte(c.caller.Team().ID))
	for _, p := range org.Permissions() {
		if p.ReadsTelemetry() {
			part([]byte(p))
			part([]byte(viewText(c, p)))
		}
	}
	part(c.question())
	part(content)
	return h.Sum(nil)[:cursorMACBytes]
}

// viewText says what of the team's telemetry the caller sees with p.
func viewText(c *call, p org.Permission) string {
	v := c.caller.View(p)
	tenant, ok := v.Tenant()
	return fmt.Sprint(tenant, ok, v.LookBack(), v.Filter() != nil, c.caller.DataScope(p), v.Hidden())
}

// question is the arguments that must not change from page to page.
func (c *call) question() []byte {
	asked := make(map[string]any, len(c.args.values))
	for name, v := range c.args.values {
		if name != "cursor" && name != "max_tokens" && v != nil && v != "" {
			asked[name] = v
		}
	}
	text, err := json.Marshal(asked) // in the order of the names
	if err != nil {
		panic(err) // it came out of JSON
	}
	return text
}

// cursorReader reads what seal wrote; the first error stays.
type cursorReader struct {
	b   []byte
	err error
}

func (r *cursorReader) take(n int) []byte {
	if r.err != nil || n <= 0 || n > len(r.b) {
		r.err = errors.New("it ends too early")
		return make([]byte, max(n, 8))
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *cursorReader) varint() int64 {
	v, n := binary.Varint(r.b)
	r.take(n)
	return v
}

func (r *cursorReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	r.take(n)
	return v
}

func (r *cursorReader) byte() byte     { return r.take(1)[0] }
func (r *cursorReader) uint32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
