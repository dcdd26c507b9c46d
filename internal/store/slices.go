package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
)

// An app may have millions of grants. One transaction over all of them would
// hold up every other write on SQLite, and run into its time limit on
// PostgreSQL, where one that reads the whole table also comes in the way of
// every refresh. So their ids are read beside the writes, and written by
// themselves, some at a time.
const (
	// sliceStatement is how many rows a statement writes, sliceRows a
	// transaction.
	sliceStatement = 500
	sliceRows      = 4 * sliceStatement
	// maxSwept bounds what one sweep removes; the next one goes on.
	maxSwept = 500_000
)

func scanText(rows *sql.Rows) (s string, err error) { return s, rows.Scan(&s) }

// inSlices runs a statement, which ends in a condition, for the grants with
// these ids. last is called at the end of each transaction, with its number
// from 0 and how many rows it wrote; without any id, nothing is.
func (db *DB) inSlices(ctx context.Context, ids []string, text string, args []any, last func(t *tx, slice int, rows int64) error) error {
	places := make([]string, sliceStatement)
	for i := range places {
		places[i] = fmt.Sprintf("$%d", len(args)+i+1)
	}
	text += " AND id IN (" + strings.Join(places, ", ") + ")"
	slices.Sort(ids) // whoever else does the same locks them in the same order
	slice := 0
	for some := range slices.Chunk(ids, sliceRows) {
		err := db.updateRows(ctx, func(t *tx) error {
			var rows int64
			for few := range slices.Chunk(some, sliceStatement) {
				// The last id again fills the rest: one text for all.
				values := slices.Clone(args)
				for i := range places {
					values = append(values, few[min(i, len(few)-1)])
				}
				n, err := t.exec(text, values...)
				if err != nil {
					return err
				}
				rows += n
			}
			return last(t, slice, rows)
		})
		if err != nil {
			return fmt.Errorf("write %d grants in slices: %w", len(ids), err)
		}
		slice++
	}
	return nil
}

// updateRows is update for a write of which each row stands for itself: the
// statement looks at the row once more when it has locked it, and nothing
// follows from rows that it does not write. Serialisable, thousands of rows
// would always have been read or written by somebody else meanwhile, and the
// write would run again until it gives up. A serialisable write of the same
// row still notices: whoever writes it second runs again.
func (db *DB) updateRows(ctx context.Context, do func(*tx) error) error {
	if db.postgres != nil {
		return db.postgres.updateAt(ctx, sql.LevelReadCommitted, do)
	}
	return db.update(ctx, do)
}

// endGrants ends the living grants that a condition on one value chooses and
// returns their number. The event is recorded with the first of them; what
// follows the feed looks at them after every slice, as clients that changed.
// After an error those ended so far have ended, and it can be asked again.
func (db *DB) endGrants(ctx context.Context, which, value, client, reason string, at time.Time, ev audit.Event) (int, error) {
	ids, err := query(ctx, db.read, scanText, "SELECT id FROM grants WHERE ended_at = 0 AND "+which, value)
	if err != nil {
		return 0, fmt.Errorf("look for grants to end: %w", err)
	}
	tell := func(t *tx, slice int) error {
		if err := t.change(access.ClientChanged, client, at); err != nil {
			return err
		}
		if slice > 0 {
			return nil
		}
		return t.record(ev)
	}
	if len(ids) == 0 {
		return 0, db.update(ctx, func(t *tx) error { return tell(t, 0) })
	}
	// A transaction may run more than once: its number counts, not the sum.
	ended := make(map[int]int64)
	err = db.inSlices(ctx, ids, "UPDATE grants SET ended_at = $1, end_reason = $2 WHERE ended_at = 0", []any{millis(at), reason},
		func(t *tx, slice int, rows int64) error {
			ended[slice] = rows
			return tell(t, slice)
		})
	sum := int64(0)
	for _, n := range ended {
		sum += n
	}
	return int(sum), err
}
