// Package store keeps Oriel's state in a relational database: it implements
// what packages org, grant, login and access ask for. It holds no rules; each
// method is one transaction.
//
// Writes go through one goroutine that commits what is waiting together
// (group commit): a write that has returned is on disk, and many writers
// share one fsync. Reads run beside it.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	sqlite "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	// busyTimeout is how long a write waits for an administration command
	// that is writing at the same time.
	busyTimeout = 5 * time.Second
	// maxReaders bounds the connections that read.
	maxReaders = 4
	// maxBatch bounds how many writes share one commit.
	maxBatch = 64
)

// ErrClosed is returned by writes after Close.
var ErrClosed = errors.New("the store is closed")

// Config says where the store is.
type Config struct {
	// Path is the SQLite file; it is created where it does not exist.
	Path string
	// Unsafe leaves out the wait for the disk at each commit. A crash of the
	// machine may then undo acknowledged writes; only benchmarks want it.
	Unsafe bool
	Logger *slog.Logger
}

// DB is an open store. It is safe for concurrent use, also by several
// processes on one file.
type DB struct {
	// pools are what writer and read run on.
	pools []*sql.DB
	// conn is the one connection that writes, in the hands of the writer.
	conn    *sql.Conn
	write   *statements
	read    *statements
	jobs    chan *job
	closing chan struct{}
	closed  chan struct{}
	// standings is the writer's alone.
	standings standings
	// head is the newest change that this process committed.
	head      atomic.Int64
	committed chan struct{}
	log       *slog.Logger
}

// Open opens the store and brings its schema up to date.
func Open(ctx context.Context, c Config) (*DB, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	synchronous := "FULL"
	if c.Unsafe {
		synchronous = "OFF"
	}
	dsn := func(mode string) string {
		q := url.Values{"_pragma": {
			"busy_timeout(" + fmt.Sprint(busyTimeout.Milliseconds()) + ")",
			"journal_mode(WAL)", "foreign_keys(1)", "synchronous(" + synchronous + ")",
		}, "_txlock": {mode}}
		return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: c.Path}).EscapedPath(), RawQuery: q.Encode()}).String()
	}
	w, err := sql.Open("sqlite", dsn("immediate"))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", c.Path, err)
	}
	w.SetMaxOpenConns(1)
	if err := migrate(ctx, w); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", c.Path, err), w.Close())
	}
	r, err := sql.Open("sqlite", dsn("deferred"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", c.Path, err), w.Close())
	}
	r.SetMaxOpenConns(maxReaders)
	r.SetMaxIdleConns(maxReaders)
	conn, err := w.Conn(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", c.Path, err), w.Close(), r.Close())
	}
	db := &DB{
		pools: []*sql.DB{w, r}, conn: conn, write: newStatements(conn), read: newStatements(r), log: c.Logger,
		jobs: make(chan *job, maxBatch), closing: make(chan struct{}), closed: make(chan struct{}),
		committed: make(chan struct{}, 1),
	}
	_, newest, err := db.ChangesAfter(ctx, -1)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", c.Path, err), db.closePools())
	}
	db.head.Store(newest)
	go db.writer()
	return db, nil
}

func migrate(ctx context.Context, db *sql.DB) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	p, err := goose.NewProvider(database.DialectSQLite3, db, files)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// Close waits for the writes under way and closes the store.
func (db *DB) Close() error {
	close(db.closing)
	<-db.closed
	return db.closePools()
}

func (db *DB) closePools() error {
	errs := []error{db.write.close(), db.read.close(), db.conn.Close()}
	for _, p := range db.pools {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

// job is one write on its way to the writer.
type job struct {
	ctx  context.Context
	do   func(*tx) error
	done chan error
	err  error
}

// tx is a transaction of the writer.
type tx struct {
	*statements
	// ctx is nobody's: the transaction belongs to all whose jobs share it.
	ctx context.Context
	// changes counts what was appended to the change feed.
	changes int
	// writes counts the statements of the job under way that may have written.
	writes int
	// standings holds what is known without reading.
	standings *standings
}

// ExecContext is that of sql.Tx.
func (t *tx) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	t.standings.forget()
	return t.apart(ctx, text, args...)
}

// apart is ExecContext for a statement that alters no standing, or only the
// one that its caller then remembers.
func (t *tx) apart(ctx context.Context, text string, args ...any) (sql.Result, error) {
	t.writes++
	return t.statements.ExecContext(ctx, text, args...)
}

// QueryContext is that of sql.Tx.
func (t *tx) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	t.note(text)
	return t.statements.QueryContext(ctx, text, args...)
}

// QueryRowContext is that of sql.Tx.
func (t *tx) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	t.note(text)
	return t.statements.QueryRowContext(ctx, text, args...)
}

// note counts a query that may write too (RETURNING).
func (t *tx) note(text string) {
	if !strings.HasPrefix(text, "SELECT") {
		t.writes++
		t.standings.forget()
	}
}

// Exec runs a statement.
func (t *tx) Exec(text string, args ...any) (sql.Result, error) {
	return t.ExecContext(t.ctx, text, args...)
}

// QueryRow runs a statement that gives one row.
func (t *tx) QueryRow(text string, args ...any) *sql.Row {
	return t.QueryRowContext(t.ctx, text, args...)
}

// update runs do in a transaction and returns when it is on disk. do may be
// called more than once and must do nothing but query the transaction.
func (db *DB) update(ctx context.Context, do func(*tx) error) error {
	j := &job{ctx: ctx, do: do, done: make(chan error, 1)}
	select {
	case db.jobs <- j:
	case <-db.closing:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("wait for the store: %w", ctx.Err())
	}
	// From here on the write may happen: its outcome is worth waiting for
	// even if the caller's context ends, and it comes soon.
	select {
	case err := <-j.done:
		return err
	case <-db.closed:
		select {
		case err := <-j.done:
			return err
		default:
			return ErrClosed
		}
	}
}

// writer is the goroutine that owns the writing connection.
func (db *DB) writer() {
	defer close(db.closed)
	for {
		select {
		case j := <-db.jobs:
			db.commit(db.batch(j))
		case <-db.closing:
			for {
				select {
				case j := <-db.jobs:
					db.commit(db.batch(j))
				default:
					return
				}
			}
		}
	}
}

// batch collects what is waiting behind the first job.
func (db *DB) batch(first *job) []*job {
	jobs := append(make([]*job, 0, maxBatch), first)
	for len(jobs) < maxBatch {
		select {
		case j := <-db.jobs:
			jobs = append(jobs, j)
		default:
			return jobs
		}
	}
	return jobs
}

// commit runs the jobs in one transaction, in which one that fails undoes
// only itself.
func (db *DB) commit(jobs []*job) {
	changes, err := db.run(jobs)
	if err != nil {
		db.log.Error("write failed", "err", err, "writes", len(jobs))
	}
	for _, j := range jobs {
		if err != nil {
			j.err = err
		}
		j.done <- j.err
	}
	if err == nil && changes {
		select {
		case db.committed <- struct{}{}:
		default:
		}
	}
}

func (db *DB) run(jobs []*job) (changes bool, err error) {
	// Hardly ever does a job fail that has written something. Only then are
	// all run again, each in a savepoint of its own: savepoints cost as much
	// as the writes of a refresh.
	changes, err = db.attempt(jobs, false)
	if errors.Is(err, errUndo) {
		changes, err = db.attempt(jobs, true)
	}
	return changes, err
}

// errUndo says that one of the jobs left something to be undone.
var errUndo = errors.New("a write failed halfway")

// attempt runs the jobs in one transaction. Without savepoints it returns
// errUndo, having written nothing, where they are needed.
func (db *DB) attempt(jobs []*job, savepoints bool) (changes bool, err error) {
	// The transaction belongs to no caller: one that gives up must not undo
	// the others' writes.
	t := &tx{statements: db.write, ctx: context.Background(), standings: &db.standings}
	control := func(text string) error {
		_, err := t.statements.ExecContext(t.ctx, text)
		return err
	}
	// At once for writing: a transaction that began by reading could find
	// another process's write in its way and would have to start again.
	if err := control("BEGIN IMMEDIATE"); err != nil {
		return false, fmt.Errorf("begin: %w", err)
	}
	done := false
	defer func() {
		if !done {
			t.standings.forget()
			_ = control("ROLLBACK") // fails where SQLite has done so by itself
		}
	}()
	if err := t.standings.check(t); err != nil {
		return false, err
	}
	for _, j := range jobs {
		if j.err = j.ctx.Err(); j.err != nil {
			continue
		}
		if savepoints {
			if err := control("SAVEPOINT job"); err != nil {
				return false, fmt.Errorf("savepoint: %w", err)
			}
		}
		end, before := "RELEASE job", t.changes
		t.writes = 0
		if j.err = j.do(t); j.err != nil {
			if t.writes > 0 && !savepoints {
				return false, errUndo
			}
			end, t.changes = "ROLLBACK TO job; RELEASE job", before
			t.standings.forget()
		}
		if savepoints {
			if err := control(end); err != nil {
				return false, fmt.Errorf("end savepoint: %w", err)
			}
		}
	}
	var head int64
	if t.changes > 0 {
		if err := t.QueryRow("SELECT max(seq) FROM changes").Scan(&head); err != nil {
			return false, fmt.Errorf("read head of the change feed: %w", err)
		}
	}
	if err := control("COMMIT"); err != nil {
		return false, fmt.Errorf("commit: %w", err)
	}
	done = true
	if t.changes > 0 {
		db.head.Store(head)
	}
	return t.changes > 0, nil
}

// exec runs a statement and returns how many rows it changed.
func (t *tx) exec(query string, args ...any) (int64, error) {
	res, err := t.ExecContext(t.ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// change appends to the change feed.
func (t *tx) change(kind access.ChangeKind, id string, at time.Time) error {
	t.changes++
	if _, err := t.exec("INSERT INTO changes (kind, id, at) VALUES ($1, $2, $3)", string(kind), id, millis(at)); err != nil {
		return fmt.Errorf("append to the change feed: %w", err)
	}
	return nil
}

// record stores audit events.
func (t *tx) record(events ...audit.Event) error {
	for _, ev := range events {
		if _, err := t.apart(t.ctx,
			"INSERT INTO audit (at, actor_kind, actor_id, address, kind, target, team, detail) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
			millis(ev.At), string(ev.Actor.Kind), ev.Actor.ID, ev.Actor.Address, string(ev.Kind), ev.Target, ev.Team, ev.Detail); err != nil {
			return fmt.Errorf("store audit event: %w", err)
		}
	}
	return nil
}

// isUnique says whether err is a violated UNIQUE or PRIMARY KEY constraint.
func isUnique(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	return e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
}

// millis is the stored form of a time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// fromMillis undoes millis.
func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
