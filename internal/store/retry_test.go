package store

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestFullLockTableIsTriedAgain(t *testing.T) {
	for code, want := range map[string]bool{outOfMemory: true, serializationFailure: true, tooManyConnections: false, uniqueViolation: false} {
		if got := retryable(fmt.Errorf("read standing: %w", &pgconn.PgError{Code: code})); got != want {
			t.Errorf("%s: %v", code, got)
		}
	}
}
