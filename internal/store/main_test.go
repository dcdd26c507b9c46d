package store_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/orielhq/oriel/internal/pgtest"
)

// TestMain runs the tests on SQLite and then all of them on PostgreSQL, unless
// the environment chooses.
func TestMain(m *testing.M) {
	if _, chosen := os.LookupEnv(pgtest.Variable); chosen {
		os.Exit(m.Run())
	}
	for _, database := range []string{"sqlite", "postgres"} {
		if err := os.Setenv(pgtest.Variable, database); err != nil {
			panic(err)
		}
		if code := m.Run(); code != 0 {
			fmt.Printf("these tests ran on %s\n", database)
			os.Exit(code)
		}
	}
}
