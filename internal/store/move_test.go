package store

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/pgtest"
)

func TestMove(t *testing.T) {
	ctx := t.Context()
	path, target := filepath.Join(t.TempDir(), "oriel.db"), pgtest.Empty(t)
	source, err := Open(ctx, Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close() //nolint:errcheck // it is the target that counts
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(source.CreatePerson(ctx, org.Person{ID: "p", Email: "p@example.com", Name: "na\x00me\xff", Owner: true, CreatedAt: time.UnixMilli(1<<62 + 1)}, "", audit.Event{}))
	must(source.SetBreakGlass(ctx, "p", true, audit.Event{}))
	ev := audit.Event{At: time.Now(), Actor: audit.System(), Kind: audit.StoreMoved}

	// One value that does not fit: nothing is moved.
	spoil := func(text string) {
		t.Helper()
		must(source.update(ctx, func(t *tx) error { _, err := t.exec(text); return err }))
	}
	spoil("INSERT INTO setup_links (hash, expires_at) VALUES ('h', 'tomorrow')")
	if _, err := Move(ctx, path, target, ev); err == nil || !strings.Contains(err.Error(), "move setup_links: column expires_at is bigint and holds a string") {
		t.Errorf("error %v", err)
	}
	spoil("DELETE FROM setup_links")

	moved, err := Move(ctx, path, target, ev)
	must(err)
	for _, m := range moved {
		want := MovedTable{Name: m.Name, Checksum: m.Checksum}
		switch m.Name {
		case "people":
			want.Rows, want.Replaced = 1, 1
		case "audit":
			want.Rows = 2
		}
		if m != want {
			t.Errorf("moved %+v, want %+v", m, want)
		}
	}
	db := openURL(t, target)
	glass, err := db.BreakGlass(ctx)
	if err != nil || len(glass) != 1 || glass[0].Name != "na\uFFFDme\uFFFD" || !glass[0].Owner || glass[0].CreatedAt.UnixMilli() != 1<<62+1 {
		t.Errorf("%+v, %v", glass, err)
	}
	events, err := db.Events(ctx, audit.Filter{})
	if err != nil || len(events) != 3 || events[2].Kind != audit.StoreMoved {
		t.Errorf("%+v, %v", events, err)
	}
	if _, err := Move(ctx, path, target, ev); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("a second time: %v", err)
	}
}

// Every value of a row counts, and so does every row; their order does not.
func TestChecksum(t *testing.T) {
	sum := func(rows ...[]any) string {
		t.Helper()
		var c checksum
		for _, r := range rows {
			if err := c.add(r); err != nil {
				t.Fatal(err)
			}
		}
		return c.text()
	}
	one, two := []any{"a", int64(1), true, []byte("x")}, []any{"b", int64(2), false, []byte{}}
	if sum(one, two) != sum(two, one) {
		t.Error("the order matters")
	}
	for name, other := range map[string]string{
		"a row less": sum(one), "a row twice": sum(one, two, two), "a text": sum([]any{"c", int64(1), true, []byte("x")}, two),
		"a truth value": sum([]any{"a", int64(1), false, []byte("x")}, two), "a number": sum([]any{"a", int64(0), true, []byte("x")}, two),
		"where a text ends": sum([]any{"a", int64(1), true, []byte{}}, two), "nothing": sum(),
	} {
		if other == sum(one, two) {
			t.Errorf("%s does not matter", name)
		}
	}
	if sum([]any{"ab", "c"}) == sum([]any{"a", "bc"}) {
		t.Error("where one value ends and the next begins does not matter")
	}
	if err := new(checksum).add([]any{3.5}); err == nil {
		t.Error("a number that no column has")
	}
}
