package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// maxStatements bounds how many statements stay prepared. The store has far
// fewer; one that would build its text from data must not fill the memory.
const maxStatements = 256

// preparer is a database or one connection to it.
type preparer interface {
	PrepareContext(ctx context.Context, text string) (*sql.Stmt, error)
	ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row
}

// statements runs statements and keeps them prepared: SQLite takes longer to
// compile most of ours than to run them. On one connection, rows of a
// statement must be closed before the same statement runs again.
type statements struct {
	on    preparer
	mu    sync.RWMutex // guards ready
	ready map[string]*sql.Stmt
}

func newStatements(on preparer) *statements {
	return &statements{on: on, ready: make(map[string]*sql.Stmt)}
}

// prepared returns the statement, or nil where it cannot be kept: then it is
// run as it is, and says itself what is wrong with it.
func (s *statements) prepared(text string) *sql.Stmt {
	s.mu.RLock()
	stmt, full := s.ready[text], len(s.ready) >= maxStatements
	s.mu.RUnlock()
	if stmt != nil || full {
		return stmt
	}
	// Not with the caller's context: the statement outlives the call.
	stmt, err := s.on.PrepareContext(context.Background(), text)
	if err != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.ready[text]; other != nil {
		_ = stmt.Close() // somebody was faster; nothing uses this one
		return other
	}
	s.ready[text] = stmt
	return stmt
}

// ExecContext is that of sql.DB.
func (s *statements) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	if stmt := s.prepared(text); stmt != nil {
		return stmt.ExecContext(ctx, args...)
	}
	return s.on.ExecContext(ctx, text, args...)
}

// QueryContext is that of sql.DB.
func (s *statements) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if stmt := s.prepared(text); stmt != nil {
		return stmt.QueryContext(ctx, args...)
	}
	return s.on.QueryContext(ctx, text, args...)
}

// QueryRowContext is that of sql.DB, but it goes on when the caller does not
// wait any more: the row is there sooner than what would watch for that.
func (s *statements) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	ctx = context.WithoutCancel(ctx)
	if stmt := s.prepared(text); stmt != nil {
		return stmt.QueryRowContext(ctx, args...)
	}
	return s.on.QueryRowContext(ctx, text, args...)
}

// close ends the statements; what they ran on is closed by its owner.
func (s *statements) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, stmt := range s.ready {
		errs = append(errs, stmt.Close())
	}
	clear(s.ready)
	return errors.Join(errs...)
}
