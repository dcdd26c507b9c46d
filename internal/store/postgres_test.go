package store

import (
	"testing"

	"github.com/orielhq/oriel/internal/pgtest"
)

func openPG(t *testing.T) *DB {
	t.Helper()
	db, err := Open(t.Context(), Config{URL: pgtest.Empty(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestOpenPG(t *testing.T) {
	db := openPG(t)
	if _, err := db.Teams(t.Context()); err != nil {
		t.Error(err)
	}
}
