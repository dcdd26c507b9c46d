package store

import (
	"context"
	"database/sql/driver"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// Unavailable says whether an error of this package means that PostgreSQL is
// away, starting, full of connections or silent, or that too many write the
// same at once: the request is as good as before when it comes again.
func Unavailable(err error) bool {
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		switch pe.Code {
		case serializationFailure, deadlockDetected, failedTransaction, adminShutdown, crashShutdown, cannotConnectNow, tooManyConnections:
			return true
		}
		return false
	}
	var ce *pgconn.ConnectError
	return errors.As(err, &ce) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, context.DeadlineExceeded) || lostConnection(err)
}
