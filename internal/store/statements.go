package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"time"
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
	on preparer
	// keep is how many stay prepared, 0 where the driver sees to it. Such a
	// driver is one over a network: its queries end with their context, and
	// its texts are of Unicode alone.
	keep int
	// again is how often a query is repeated whose connection was lost: once
	// for each that a pool may have kept. In a transaction it is not.
	again int
	mu    sync.RWMutex // guards ready
	ready map[string]*sql.Stmt
}

func newStatements(on preparer, keep int) *statements {
	return &statements{on: on, keep: keep, ready: make(map[string]*sql.Stmt)}
}

// prepared returns the statement, or nil where it cannot be kept: then it is
// run as it is, and says itself what is wrong with it.
func (s *statements) prepared(text string) *sql.Stmt {
	s.mu.RLock()
	stmt, full := s.ready[text], len(s.ready) >= s.keep
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
	args = s.storable(args)
	if stmt := s.prepared(text); stmt != nil {
		return stmt.ExecContext(ctx, args...)
	}
	return s.on.ExecContext(ctx, text, args...)
}

// QueryContext is that of sql.DB.
func (s *statements) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	args = s.storable(args)
	if stmt := s.prepared(text); stmt != nil {
		return stmt.QueryContext(ctx, args...)
	}
	ctx = s.bounded(ctx)
	for n := 0; ; n++ {
		rows, err := s.on.QueryContext(ctx, text, args...)
		if err == nil || n >= s.again || !lostConnection(err) || ctx.Err() != nil {
			return rows, err
		}
	}
}

// bounded ends a query over a network that swallows everything. In a
// transaction the context is bounded already.
func (s *statements) bounded(ctx context.Context) context.Context {
	if s.again == 0 {
		return ctx
	}
	// What reads the rows does not say when it is done: the timer does.
	ctx, cancel := context.WithCancel(ctx)
	time.AfterFunc(pgQuery, cancel)
	return ctx
}

// storable replaces what PostgreSQL keeps in no text: the character 0 and
// bytes that are not UTF-8. Strangers send both; an address that has them is
// nobody's, and no reason to fail.
func (s *statements) storable(args []any) []any {
	if s.keep > 0 {
		return args
	}
	for i, a := range args {
		if text, ok := a.(string); ok {
			args[i] = storable(text)
		}
	}
	return args
}

func storable(text string) string {
	if strings.IndexByte(text, 0) >= 0 {
		text = strings.ReplaceAll(text, "\x00", "\uFFFD")
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// QueryRowContext is that of sql.DB, but on SQLite it goes on when the caller
// does not wait any more: the row is there sooner than what would watch for
// that.
func (s *statements) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	if s.keep > 0 {
		ctx = context.WithoutCancel(ctx)
	}
	args = s.storable(args)
	if stmt := s.prepared(text); stmt != nil {
		return stmt.QueryRowContext(ctx, args...)
	}
	ctx = s.bounded(ctx)
	for n := 0; ; n++ {
		row := s.on.QueryRowContext(ctx, text, args...)
		if err := row.Err(); err == nil || n >= s.again || !lostConnection(err) || ctx.Err() != nil {
			return row
		}
	}
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
