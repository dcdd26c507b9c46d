// Package store keeps Oriel's state in a relational database: it implements
// what packages org, grant, login and access ask for. It holds no rules; each
// method is one transaction.
//
// The relational database is a SQLite file or a PostgreSQL database: one SQL
// text and one set of migrations for both.
//
// On SQLite, writes go through one goroutine that commits what is waiting
// together (group commit): a write that has returned is on disk, and many
// writers share one fsync. Reads run beside it. On PostgreSQL each write is a
// serialisable transaction on a connection of its own, run again where the
// database says that it came in another's way: what is right with one writer
// stays right with many, in any number of processes.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	sqlite "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
)

const (
	// busyTimeout is how long a write waits for another process that is
	// writing the same at the same time.
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
	// URL is that of a PostgreSQL database (postgres://…); with one, Path is
	// not looked at.
	URL string
	// Unsafe leaves out SQLite's wait for the disk at each commit. A crash of
	// the machine may then undo acknowledged writes; only benchmarks want it.
	Unsafe bool
	Logger *slog.Logger
}

// DB is an open store. It is safe for concurrent use, also by several
// processes on one file or database.
type DB struct {
	// pools are what writer and read run on.
	pools []*sql.DB
	read  *statements
	// postgres is nil on SQLite, and the next three are nil on PostgreSQL.
	postgres *postgres
	// conn is the one connection that writes, in the hands of the writer.
	conn  *sql.Conn
	write *statements
	jobs  chan *job

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
	if c.URL != "" {
		return openPostgres(ctx, c)
	}
	return openSQLite(ctx, c)
}

func openSQLite(ctx context.Context, c Config) (*DB, error) {
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
	if err := migrateSQLite(ctx, w); err != nil {
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
		pools: []*sql.DB{w, r}, conn: conn, write: newStatements(conn, maxStatements), read: newStatements(r, maxStatements), log: c.Logger,
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

// Close waits for the writes under way and closes the store.
func (db *DB) Close() error {
	close(db.closing)
	if db.postgres != nil {
		db.postgres.stop()
	}
	<-db.closed
	return db.closePools()
}

func (db *DB) closePools() error {
	errs := []error{db.read.close()}
	if db.conn != nil {
		errs = append(errs, db.write.close(), db.conn.Close())
	}
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

// tx is a transaction that writes.
type tx struct {
	*statements
	// ctx is nobody's: on SQLite the transaction belongs to all whose jobs
	// share it.
	ctx context.Context
	// pending are the changes of the job under way, which run appends to the
	// feed; head is the number of the newest appended one, 0 for none.
	pending []change
	head    int64
	// writes counts the statements of the job under way that may have written.
	writes int
	// standings holds what is known without reading; nil on PostgreSQL, where
	// others write at the same time.
	standings *standings
	// feed is done before changes are appended, told after it.
	feed, told func(*tx) error
}

// change is one line of the change feed.
type change struct {
	kind access.ChangeKind
	id   string
	at   time.Time
}

// run does a job and appends its changes to the feed.
func (t *tx) run(do func(*tx) error) error {
	t.pending, t.writes = t.pending[:0], 0
	if err := do(t); err != nil {
		return err
	}
	if len(t.pending) == 0 {
		return nil
	}
	if t.feed != nil {
		if err := t.feed(t); err != nil {
			return fmt.Errorf("append to the change feed: %w", err)
		}
	}
	for _, c := range t.pending {
		if err := t.QueryRow("INSERT INTO changes (kind, id, at) VALUES ($1, $2, $3) RETURNING seq",
			string(c.kind), c.id, millis(c.at)).Scan(&t.head); err != nil {
			return fmt.Errorf("append to the change feed: %w", err)
		}
	}
	if t.told != nil {
		return t.told(t)
	}
	return nil
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
	if db.postgres != nil {
		return db.postgres.update(ctx, do)
	}
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
		db.tell()
	}
}

// tell says that there may be something new in the change feed.
func (db *DB) tell() {
	select {
	case db.committed <- struct{}{}:
	default:
	}
}

// raise notes the number of a change that this process has committed.
func (db *DB) raise(head int64) {
	for {
		old := db.head.Load()
		if head <= old || db.head.CompareAndSwap(old, head) {
			return
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
		end, before := "RELEASE job", t.head
		if j.err = t.run(j.do); j.err != nil {
			if t.writes > 0 && !savepoints {
				return false, errUndo
			}
			end, t.head = "ROLLBACK TO job; RELEASE job", before
			t.standings.forget()
		}
		if savepoints {
			if err := control(end); err != nil {
				return false, fmt.Errorf("end savepoint: %w", err)
			}
		}
	}
	if err := control("COMMIT"); err != nil {
		return false, fmt.Errorf("commit: %w", err)
	}
	done = true
	db.raise(t.head)
	return t.head > 0, nil
}

// exec runs a statement and returns how many rows it changed.
func (t *tx) exec(query string, args ...any) (int64, error) {
	res, err := t.ExecContext(t.ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// change appends to the change feed, when the job is done. It returns an error
// only to be used as the other steps of a job are.
func (t *tx) change(kind access.ChangeKind, id string, at time.Time) error {
	t.pending = append(t.pending, change{kind, id, at})
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
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		return pe.Code == uniqueViolation
	}
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
