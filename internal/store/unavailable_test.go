package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestUnavailable(t *testing.T) {
	t.Parallel()
	// There is no server at the socket.
	_, err := pgconn.Connect(t.Context(), "host="+t.TempDir()+" user=oriel")
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{err, true},
		{fmt.Errorf("read: %w", &pgconn.PgError{Code: cannotConnectNow}), true},
		{fmt.Errorf("read: %w", &pgconn.PgError{Code: tooManyConnections}), true},
		{fmt.Errorf("read: %w", io.ErrUnexpectedEOF), true},
		{fmt.Errorf("read: %w", context.DeadlineExceeded), true},
		{fmt.Errorf("read: %w", &pgconn.PgError{Code: uniqueViolation}), false},
		{errors.New("something else"), false},
		{nil, false},
	} {
		if got := Unavailable(tt.err); got != tt.want {
			t.Errorf("%v: %t", tt.err, got)
		}
	}
}
