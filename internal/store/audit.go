package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/orielhq/oriel/internal/audit"
)

// Events reads the audit log, oldest first; with a limit, the newest so many.
func (db *DB) Events(ctx context.Context, f audit.Filter) ([]audit.Entry, error) {
	limit := int64(f.Limit)
	if limit <= 0 {
		limit = math.MaxInt64
	}
	var settled string
	if db.postgres != nil && f.After > 0 {
		// Who asks again and again for what is new must not be shown an event
		// while one with a smaller number may still be on its way.
		settled = " AND age(audit.xmin) > age(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS xid))"
	}
	entries, err := query(ctx, db.read, func(rows *sql.Rows) (audit.Entry, error) {
		var (
			e  audit.Entry
			at int64
		)
		err := rows.Scan(&e.Seq, &at, &e.Actor.Kind, &e.Actor.ID, &e.Actor.Address, &e.Kind, &e.Target, &e.Team, &e.Detail, &e.Who)
		e.At = fromMillis(at)
		return e, err
	}, `SELECT audit.id, audit.at, audit.actor_kind, audit.actor_id, audit.address, audit.kind, audit.target, audit.team, audit.detail,
			COALESCE(
				(SELECT people.email FROM people WHERE audit.actor_kind = 'person' AND people.id = audit.actor_id),
				audit.actor_id)
		FROM audit
		WHERE audit.id > $1 AND audit.at >= $2 AND ($3 = '' OR audit.kind = $3)
			AND ($4 = '' OR audit.target = $4
				OR audit.actor_id IN (SELECT id FROM people WHERE email = $4)
				OR audit.target IN (SELECT id FROM people WHERE email = $4)
				OR audit.target IN (SELECT grants.id FROM grants JOIN people ON people.id = grants.person_id WHERE people.email = $4))
			AND ($5 = '' OR audit.target = $5)
			AND (CAST($6 AS BIGINT) = 0 OR audit.id < $6) AND (CAST($7 AS BIGINT) = 0 OR audit.at < $7)
			AND ($8 = '' OR LOWER(audit.kind || ' ' || audit.actor_id || ' ' || audit.address || ' ' || audit.target || ' ' || audit.team || ' ' || audit.detail)
				LIKE '%' || $8 || '%' ESCAPE '\')`+settled+`
		ORDER BY audit.id DESC LIMIT $9`,
		f.After, millis(f.Since), string(f.Kind), f.Email, f.Grant, f.Before, millis(f.Until), likeText(f.Text), limit)
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	slices.Reverse(entries)
	return entries, nil
}

// likeText makes a text one that LIKE looks for as it is, in lower case.
func likeText(s string) string {
	return strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(strings.ToLower(s))
}

// CheckIntegrity asks SQLite whether the file is sound and every reference
// has its row (PRAGMA quick_check, PRAGMA foreign_key_check). It returns what
// is wrong, nothing for a sound file. PostgreSQL looks after itself.
func (db *DB) CheckIntegrity(ctx context.Context) ([]string, error) {
	if db.postgres != nil {
		return nil, nil
	}
	problems, err := query(ctx, db.read, func(rows *sql.Rows) (string, error) {
		var s string
		return s, rows.Scan(&s)
	}, "PRAGMA quick_check(10)")
	if err != nil {
		return nil, fmt.Errorf("check the database: %w", err)
	}
	problems = slices.DeleteFunc(problems, func(s string) bool { return s == "ok" })
	dangling, err := query(ctx, db.read, func(rows *sql.Rows) (string, error) {
		var (
			table, parent string
			row, key      sql.NullInt64
		)
		err := rows.Scan(&table, &row, &parent, &key)
		return fmt.Sprintf("row %d of %s refers to a missing row of %s", row.Int64, table, parent), err
	}, "PRAGMA foreign_key_check")
	if err != nil {
		return nil, fmt.Errorf("check references: %w", err)
	}
	return append(problems, dangling...), nil
}
