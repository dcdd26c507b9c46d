// Package storetest says which database the tests of other packages keep
// their state in: a SQLite file, or a database of a PostgreSQL that it starts
// (see pgtest.Variable).
package storetest

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/orielhq/oriel/internal/pgtest"
	"github.com/orielhq/oriel/internal/store"
)

// Config returns where a new, empty store is to be opened. It may be opened
// several times.
func Config(tb testing.TB) store.Config {
	tb.Helper()
	if pgtest.Wanted() {
		return store.Config{URL: URL(tb)}
	}
	return SQLite(tb)
}

// SQLite returns a store in a file.
func SQLite(tb testing.TB) store.Config {
	tb.Helper()
	return store.Config{Path: filepath.Join(tb.TempDir(), "oriel.db"), Unsafe: true}
}

// URL returns that of a new PostgreSQL database whose schema is up to date.
func URL(tb testing.TB) string {
	tb.Helper()
	return pgtest.Copy(tb, "oriel_template", func(url string) error {
		db, err := store.Open(context.Background(), store.Config{URL: url})
		if err != nil {
			return err
		}
		return db.Close()
	})
}
