package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/orielhq/oriel/internal/audit"
)

// Errors of Move.
var (
	ErrNotEmpty = errors.New("the target is not empty")
	ErrNoSource = errors.New("there is no such file")
)

// MovedTable is what Move did to one table.
type MovedTable struct {
	Name string
	Rows int64
	// Checksum is that of all rows, in hexadecimal, however they are ordered.
	Checksum string
	// Replaced counts texts with characters that PostgreSQL keeps nowhere (0,
	// and bytes that are not UTF-8), which became U+FFFD.
	Replaced int64
}

// Move copies everything in the SQLite file into the empty PostgreSQL
// database, in one transaction, and reads it back: what it returns is there,
// row for row as it was. The file is not changed, but for being brought up to
// date; nobody else writes to either meanwhile. ev is recorded in the target.
//
// Errors: ErrNoSource, ErrNotEmpty; any other says itself what to do.
func Move(ctx context.Context, path, url string, ev audit.Event) ([]MovedTable, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("%s: %w", path, ErrNoSource)
	}
	config, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	if err := preparePostgres(ctx, config); err != nil {
		return nil, err
	}
	source, err := openSQLite(ctx, Config{Path: path})
	if err != nil {
		return nil, err
	}
	var moved []MovedTable
	// As the one writer of the file: others wait, and what is copied is one
	// state.
	err = source.update(ctx, func(t *tx) error {
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return explain(config, err)
		}
		defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // what counts is the commit
		return pgx.BeginFunc(ctx, conn, func(to pgx.Tx) error {
			moved, err = move(ctx, t, to)
			if err != nil {
				return err
			}
			_, err := to.Exec(ctx, "INSERT INTO audit (at, actor_kind, actor_id, address, kind, target, team, detail) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
				millis(ev.At), string(ev.Actor.Kind), ev.Actor.ID, ev.Actor.Address, string(ev.Kind), ev.Target, ev.Team, ev.Detail)
			return err
		})
	})
	if err := errors.Join(err, source.Close()); err != nil {
		return nil, err
	}
	return moved, nil
}

// target is a table of the target.
type target struct {
	name    string
	columns []column
	// numbered are the columns that the database numbers.
	numbered []string
	// after are the tables that rows of this one refer to.
	after []string
}

type column struct{ name, kind string }

func move(ctx context.Context, from *tx, to pgx.Tx) ([]MovedTable, error) {
	tables, err := targets(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("read the target's schema: %w", err)
	}
	if err := sameTables(ctx, from, tables); err != nil {
		return nil, err
	}
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = quoted(t.name)
	}
	// A server that starts on the target meanwhile waits, or fails; it does
	// not write in between.
	if _, err := to.Exec(ctx, "LOCK TABLE "+strings.Join(names, ", ")+" IN SHARE ROW EXCLUSIVE MODE"); err != nil {
		return nil, fmt.Errorf("lock the target: %w", err)
	}
	for _, t := range tables {
		var some bool
		if err := to.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM "+quoted(t.name)+")").Scan(&some); err != nil {
			return nil, fmt.Errorf("look into the target: %w", err)
		}
		if some {
			return nil, fmt.Errorf("%w: its table %s has rows; give an empty database (a server that ran on it has made keys there: DROP DATABASE and CREATE DATABASE)", ErrNotEmpty, t.name)
		}
	}
	var moved []MovedTable
	for _, t := range tables {
		m, err := moveTable(ctx, from, to, t)
		if err != nil {
			return nil, fmt.Errorf("move %s: %w", t.name, err)
		}
		moved = append(moved, m)
	}
	slices.SortFunc(moved, func(a, b MovedTable) int { return strings.Compare(a.Name, b.Name) })
	return moved, nil
}

// sameTables refuses where something would be left behind.
func sameTables(ctx context.Context, from *tx, tables []target) error {
	columns, err := query(ctx, from, func(rows *sql.Rows) (string, error) {
		var table, name string
		err := rows.Scan(&table, &name)
		return table + "." + name, err
	}, `SELECT m.name, c.name FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE 'goose_%'`)
	if err != nil {
		return fmt.Errorf("read the source's schema: %w", err)
	}
	for _, t := range tables {
		for _, c := range t.columns {
			if i := slices.Index(columns, t.name+"."+c.name); i >= 0 {
				columns = slices.Delete(columns, i, i+1)
			} else {
				return fmt.Errorf("the source has no column %s.%s: use one version of the program for both", t.name, c.name)
			}
		}
	}
	if len(columns) > 0 {
		return fmt.Errorf("the target has no column %s: use one version of the program for both", columns[0])
	}
	return nil
}

// targets lists the tables, each after those that it refers to.
func targets(ctx context.Context, to pgx.Tx) ([]target, error) {
	byName := make(map[string]*target)
	rows, err := to.Query(ctx, `SELECT table_name, column_name, data_type, is_identity FROM information_schema.columns
		WHERE table_schema = current_schema() AND table_name NOT LIKE 'goose\_%' ORDER BY table_name, ordinal_position`)
	if err != nil {
		return nil, err
	}
	var table, name, kind, identity string
	if _, err := pgx.ForEachRow(rows, []any{&table, &name, &kind, &identity}, func() error {
		t := byName[table]
		if t == nil {
			t = &target{name: table}
			byName[table] = t
		}
		t.columns = append(t.columns, column{name, kind})
		if identity == "YES" {
			t.numbered = append(t.numbered, name)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	rows, err = to.Query(ctx, `SELECT CAST(c.relname AS TEXT), CAST(p.relname AS TEXT) FROM pg_constraint AS f
		JOIN pg_class AS c ON c.oid = f.conrelid JOIN pg_class AS p ON p.oid = f.confrelid
		WHERE f.contype = 'f' AND c.relnamespace = CAST(current_schema() AS regnamespace)`)
	if err != nil {
		return nil, err
	}
	var child, parent string
	if _, err := pgx.ForEachRow(rows, []any{&child, &parent}, func() error {
		if t := byName[child]; t != nil && child != parent {
			t.after = append(t.after, parent)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	var sorted []target
	for len(byName) > 0 {
		progress := false
		for name, t := range byName {
			if slices.ContainsFunc(t.after, func(p string) bool { return byName[p] != nil }) {
				continue
			}
			sorted = append(sorted, *t)
			delete(byName, name)
			progress = true
		}
		if !progress {
			return nil, errors.New("the tables refer to each other in a circle")
		}
	}
	return sorted, nil
}

// quoted is a name as SQL takes it, whatever words it knows.
func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }

func moveTable(ctx context.Context, from *tx, to pgx.Tx, t target) (MovedTable, error) {
	m := MovedTable{Name: t.name}
	names, list := make([]string, len(t.columns)), make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i], list[i] = c.name, quoted(c.name)
	}
	all := "SELECT " + strings.Join(list, ", ") + " FROM " + quoted(t.name)
	// Not among the statements that are kept.
	rows, err := from.on.QueryContext(ctx, all)
	if err != nil {
		return m, fmt.Errorf("read: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
	source := &copying{rows: rows, table: t, moved: &m}
	if m.Rows, err = to.CopyFrom(ctx, pgx.Identifier{t.name}, names, source); err != nil {
		if source.err != nil {
			return m, source.err
		}
		return m, fmt.Errorf("write: %w", err)
	}
	if m.Rows != source.sum.rows {
		return m, fmt.Errorf("%d rows were read and %d written", source.sum.rows, m.Rows)
	}
	for _, c := range t.numbered {
		if _, err := to.Exec(ctx, "SELECT setval(pg_get_serial_sequence($1, $2), GREATEST(max("+quoted(c)+"), 1), max("+quoted(c)+") IS NOT NULL) FROM "+quoted(t.name), t.name, c); err != nil {
			return m, fmt.Errorf("go on numbering: %w", err)
		}
	}
	back, err := to.Query(ctx, all)
	if err != nil {
		return m, fmt.Errorf("read back: %w", err)
	}
	defer back.Close()
	var check checksum
	for back.Next() {
		values, err := back.Values()
		if err != nil {
			return m, fmt.Errorf("read back: %w", err)
		}
		if err := check.add(values); err != nil {
			return m, fmt.Errorf("read back: %w", err)
		}
	}
	if err := back.Err(); err != nil {
		return m, fmt.Errorf("read back: %w", err)
	}
	if check != source.sum {
		return m, fmt.Errorf("what was written is not what was read: %d rows %s, read back %d rows %s", source.sum.rows, source.sum.text(), check.rows, check.text())
	}
	m.Checksum = check.text()
	return m, nil
}

// copying is the rows of a SQLite table as PostgreSQL takes them
// (pgx.CopyFromSource).
type copying struct {
	rows  *sql.Rows
	table target
	moved *MovedTable
	sum   checksum
	row   []any
	err   error
}

// Next implements pgx.CopyFromSource.
func (c *copying) Next() bool {
	if c.err != nil || !c.rows.Next() {
		return false
	}
	c.row = make([]any, len(c.table.columns))
	into := make([]any, len(c.row))
	for i := range c.row {
		into[i] = &c.row[i]
	}
	if c.err = c.rows.Scan(into...); c.err != nil {
		return false
	}
	for i, col := range c.table.columns {
		if c.row[i], c.err = c.value(col, c.row[i]); c.err != nil {
			return false
		}
	}
	c.err = c.sum.add(c.row)
	return c.err == nil
}

// Values implements pgx.CopyFromSource.
func (c *copying) Values() ([]any, error) { return c.row, nil }

// Err implements pgx.CopyFromSource.
func (c *copying) Err() error { return errors.Join(c.err, c.rows.Err()) }

// value turns what SQLite holds into the column's type.
func (c *copying) value(col column, v any) (any, error) {
	switch col.kind {
	case "boolean":
		switch v := v.(type) {
		case bool:
			return v, nil
		case int64:
			return v != 0, nil
		}
	case "bigint":
		if n, ok := v.(int64); ok {
			return n, nil
		}
	case "text":
		text, ok := v.(string)
		if b, isBytes := v.([]byte); isBytes {
			text, ok = string(b), true
		}
		if ok {
			clean := storable(text)
			if clean != text {
				c.moved.Replaced++
			}
			return clean, nil
		}
	case "bytea":
		switch v := v.(type) {
		case []byte:
			return append([]byte{}, v...), nil
		case string:
			return []byte(v), nil
		}
	}
	return nil, fmt.Errorf("column %s is %s and holds a %T", col.name, col.kind, v)
}

// checksum is the sum of the rows' hashes, four 64-bit numbers each by itself:
// the order of the rows does not matter, every value does.
type checksum struct {
	rows int64
	sum  [4]uint64
}

func (c *checksum) add(row []any) error {
	h := sha256.New()
	put := func(kind byte, text []byte) {
		var head [9]byte
		head[0] = kind
		binary.BigEndian.PutUint64(head[1:], uint64(len(text)))
		h.Write(head[:])
		h.Write(text)
	}
	for _, v := range row {
		switch v := v.(type) {
		case bool:
			if v {
				put('b', []byte{1})
			} else {
				put('b', []byte{0})
			}
		case int64:
			put('n', binary.BigEndian.AppendUint64(nil, uint64(v)))
		case string:
			put('t', []byte(v))
		case []byte:
			put('x', v)
		default:
			return fmt.Errorf("a column holds a %T", v)
		}
	}
	digest := h.Sum(nil)
	for i := range c.sum {
		c.sum[i] += binary.BigEndian.Uint64(digest[8*i:])
	}
	c.rows++
	return nil
}

func (c *checksum) text() string {
	var b []byte
	for _, n := range c.sum {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return hex.EncodeToString(b)
}
