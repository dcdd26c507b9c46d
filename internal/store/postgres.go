package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// pgReaders and pgWriters bound the connections of one process, beside
	// the one that listens: PostgreSQL allows 100 unless told otherwise, which
	// is enough for five replicas.
	pgReaders = 8
	pgWriters = 8
	// pgConnect bounds the making of a connection where the URL does not.
	pgConnect = 5 * time.Second
	// pgWrite bounds a write, its repetitions included, pgRead the reading of
	// the change feed: a connection may hang for ever.
	pgWrite = 15 * time.Second
	pgRead  = 2 * time.Second
	// pgQuery bounds every other query.
	pgQuery = 15 * time.Second
	// pgIdleTransaction is when the server ends a transaction of a process
	// that has gone silent in it, with its locks. Ours wait for nothing but
	// the network.
	pgIdleTransaction = 10 * time.Second
	// pgStatement is when the server gives up a statement that nobody waits
	// for any more. Sweeping is the longest.
	pgStatement = time.Minute
	// pgOldest is the oldest version that is taken.
	pgOldest = 140000
	// pgIdle is how long a connection is kept that is not used, pgLifetime how
	// long any is: behind a proxy or after a failover they move on.
	pgIdle     = 5 * time.Minute
	pgLifetime = 30 * time.Minute
)

const (
	// maxAttempts bounds how often a write is run again, and patience is how
	// many attempts go side by side: those after it stand in line, so that
	// they cannot get in each other's way any more.
	maxAttempts = 20
	patience    = 3
	// firstDelay and maxDelay are what is waited before the second and before
	// a late attempt at the most; chance decides how much of it.
	firstDelay = 2 * time.Millisecond
	maxDelay   = 100 * time.Millisecond
)

// Keys of the advisory locks: "oriel" in ASCII, and a number.
const (
	lockSpace     int64 = 0x6f7269656c000000
	feedLock            = lockSpace + 1
	patienceLock        = lockSpace + 2
	migrationLock       = lockSpace + 3
	leaderLock          = lockSpace + 4
)

// SQLSTATE codes (PostgreSQL documentation, appendix A).
const (
	uniqueViolation      = "23505"
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	failedTransaction    = "25P02"
	insufficientRights   = "42501"
	unknownDatabase      = "3D000"
	wrongPassword        = "28P01"
	notAuthorized        = "28000"
	adminShutdown        = "57P01"
	crashShutdown        = "57P02"
	cannotConnectNow     = "57P03"
	tooManyConnections   = "53300"
	// outOfMemory also says that there is no room for another predicate lock,
	// of which large tables take more; it comes free with others' commits.
	outOfMemory = "53200"
)

// feedChannel is where commits that append to the change feed are announced.
const feedChannel = "oriel_changes"

// postgres is the part of an open store that only PostgreSQL needs.
type postgres struct {
	db     *DB
	config *pgx.ConnConfig
	writes *sql.DB
	// stop ends the listener.
	stop context.CancelFunc
	// again counts the writes that were run again.
	again atomic.Int64
}

func openPostgres(ctx context.Context, c Config) (*DB, error) {
	config, err := parseURL(c.URL)
	if err != nil {
		return nil, err
	}
	if err := preparePostgres(ctx, config); err != nil {
		return nil, err
	}
	for name, value := range sessionSettings() {
		if _, set := config.RuntimeParams[name]; !set {
			config.RuntimeParams[name] = value
		}
	}
	pool := func(size int) *sql.DB {
		p := stdlib.OpenDB(*config)
		p.SetMaxOpenConns(size)
		p.SetMaxIdleConns(size)
		p.SetConnMaxIdleTime(pgIdle)
		p.SetConnMaxLifetime(pgLifetime)
		return p
	}
	r, w := pool(pgReaders), pool(pgWriters)
	listening, stop := context.WithCancel(context.Background())
	db := &DB{
		pools: []*sql.DB{r, w}, read: newStatements(r, 0), log: c.Logger,
		closing: make(chan struct{}), closed: make(chan struct{}), committed: make(chan struct{}, 1),
	}
	db.read.again = pgReaders
	db.postgres = &postgres{db: db, config: config, writes: w, stop: stop}
	_, newest, err := db.ChangesAfter(ctx, -1)
	if err != nil {
		stop()
		return nil, errors.Join(explain(config, err), db.closePools())
	}
	db.head.Store(newest)
	go db.postgres.listen(listening)
	return db, nil
}

// sessionSettings are those of every connection, unless the URL has others.
func sessionSettings() map[string]string {
	return map[string]string{
		"idle_in_transaction_session_timeout": strconv.FormatInt(pgIdleTransaction.Milliseconds(), 10),
		"statement_timeout":                   strconv.FormatInt(pgStatement.Milliseconds(), 10),
		"lock_timeout":                        strconv.FormatInt(busyTimeout.Milliseconds(), 10),
		// The server notices within half a minute that a process is gone
		// without a word, and gives its locks to others.
		"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "4",
	}
}

// parseURL reads the URL. What it says about a wrong one never repeats it: it
// may hold a password.
func parseURL(text string) (*pgx.ConnConfig, error) {
	wrong := func(why string) error {
		return fmt.Errorf("--database-url: %s; write it like postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full", why)
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, wrong("this is no URL (characters of the password other than letters and digits must be percent-encoded)")
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, wrong("this is no PostgreSQL URL")
	}
	config, err := pgx.ParseConfig(text)
	if err != nil {
		var parse *pgconn.ParseConfigError
		if reason := errors.Unwrap(err); errors.As(err, &parse) && reason != nil {
			return nil, wrong("this cannot be used: " + reason.Error())
		}
		return nil, wrong("this cannot be used")
	}
	if config.Database == "" {
		return nil, wrong("it names no database")
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = pgConnect
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "oriel"
	}
	return config, nil
}

// preparePostgres looks whether the database can be used and brings its
// schema up to date.
func preparePostgres(ctx context.Context, config *pgx.ConnConfig) error {
	// Without the bounds of later: a migration may take its time.
	pool := stdlib.OpenDB(*config)
	defer pool.Close() //nolint:errcheck // nothing is under way on it
	var (
		version            int
		encoding, readOnly string
	)
	err := pool.QueryRowContext(ctx, `SELECT CAST(current_setting('server_version_num') AS INTEGER), current_setting('server_encoding'),
		current_setting('transaction_read_only')`).Scan(&version, &encoding, &readOnly)
	if err != nil {
		return explain(config, err)
	}
	if err := suits(config, version, encoding, readOnly == "on"); err != nil {
		return err
	}
	if err := migratePostgres(ctx, pool); err != nil {
		return explain(config, err)
	}
	return nil
}

// suits says what keeps a database from being used. version is the server's,
// as in server_version_num.
func suits(c *pgx.ConnConfig, version int, encoding string, readOnly bool) error {
	switch {
	case version < pgOldest:
		return fmt.Errorf("%s runs PostgreSQL %d; %d or newer is needed", place(c), version/10000, pgOldest/10000)
	case encoding != "UTF8":
		return fmt.Errorf("%s has the encoding %s; make the database anew with: CREATE DATABASE %s ENCODING 'UTF8' TEMPLATE template0", place(c), encoding, c.Database)
	case readOnly:
		return fmt.Errorf("%s is read-only; give the address of the primary, or several hosts and target_session_attrs=read-write", place(c))
	}
	return nil
}

// place names a database without its secrets.
func place(c *pgx.ConnConfig) string {
	return fmt.Sprintf("the database %s at %s", c.Database, address(c))
}

func address(c *pgx.ConnConfig) string {
	if len(c.Host) > 0 && c.Host[0] == '/' {
		return c.Host
	}
	return net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))
}

// explain says what to do about an error of opening.
func explain(c *pgx.ConnConfig, err error) error {
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		switch pe.Code {
		case wrongPassword, notAuthorized:
			return fmt.Errorf("PostgreSQL at %s does not let the user %s in (%s): check the user and the password in --database-url, and pg_hba.conf", address(c), c.User, pe.Message)
		case unknownDatabase:
			return fmt.Errorf("there is no database %s at %s: make it with CREATE DATABASE %s OWNER %s ENCODING 'UTF8' TEMPLATE template0", c.Database, address(c), c.Database, c.User)
		case insufficientRights:
			return fmt.Errorf("the user %s may not create tables in %s (%s): make it the database's owner (ALTER DATABASE %s OWNER TO %s), or GRANT CREATE, USAGE ON SCHEMA public TO %s there",
				c.User, place(c), pe.Message, c.Database, c.User, c.User)
		case cannotConnectNow:
			return fmt.Errorf("PostgreSQL at %s is starting or stopping (%s): try again", address(c), pe.Message)
		case tooManyConnections:
			return fmt.Errorf("PostgreSQL at %s takes no more connections (%s): raise max_connections; each Oriel process uses up to %d", address(c), pe.Message, pgReaders+pgWriters+2)
		}
		return fmt.Errorf("open %s: %w", place(c), err)
	}
	var ce *pgconn.ConnectError
	if errors.As(err, &ce) {
		return fmt.Errorf("PostgreSQL at %s does not answer: start it, or correct --database-url (%w)", address(c), errors.Unwrap(ce))
	}
	return fmt.Errorf("open %s: %w", place(c), err)
}

// update is DB.update: a transaction of its own, run again where another one
// came in its way.
//
// All are SERIALIZABLE, none looks for the rows it should lock: the outcome of
// those that commit is that of some order of running them one after the other
// (PostgreSQL documentation, 13.2.3), which is what SQLite's one writer does.
// So a rule that holds there (a code is redeemed once, a refresh token has one
// live successor, somebody stays owner) holds here, for rules that are yet to
// be written too. What it costs is running again, and only where two really
// touch the same: grants, the most frequent write, have each a row of their own.
func (p *postgres) update(ctx context.Context, do func(*tx) error) error {
	return p.updateAt(ctx, sql.LevelSerializable, do)
}

func (p *postgres) updateAt(ctx context.Context, level sql.IsolationLevel, do func(*tx) error) error {
	select {
	case <-p.db.closing:
		return ErrClosed
	default:
	}
	bounded, cancel := context.WithTimeout(ctx, pgWrite)
	defer cancel()
	for attempt := 1; ; attempt++ {
		again, err := p.attempt(bounded, level, do, attempt > patience)
		if err == nil || !again {
			return err
		}
		p.again.Add(1)
		if attempt == maxAttempts {
			return fmt.Errorf("after %d attempts: %w", attempt, err)
		}
		delay := min(firstDelay<<(attempt-1), maxDelay)
		select {
		case <-time.After(rand.N(delay)):
		case <-bounded.Done():
			return fmt.Errorf("after %d attempts: %w", attempt, err)
		}
	}
}

// Repeated returns how often a write was run again because it came in
// another's way, or because its connection was lost; always 0 on SQLite.
func (db *DB) Repeated() int64 {
	if db.postgres == nil {
		return 0
	}
	return db.postgres.again.Load()
}

// attempt runs a write once. again says that it left nothing and may well
// succeed another time.
func (p *postgres) attempt(ctx context.Context, level sql.IsolationLevel, do func(*tx) error, inLine bool) (again bool, err error) {
	conn, err := p.writes.Conn(ctx)
	if err != nil {
		select {
		case <-p.db.closing:
			return false, ErrClosed
		default:
		}
		return retryable(err), fmt.Errorf("wait for the store: %w", err)
	}
	defer conn.Close() //nolint:errcheck // it goes back to the pool, which drops a broken one
	// From here on the outcome is worth waiting for even if the caller goes.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pgWrite)
	defer cancel()
	if inLine {
		// Before the transaction, whose view of the data must begin after the
		// one before has committed.
		if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", patienceLock); err != nil {
			return retryable(err), fmt.Errorf("stand in line: %w", err)
		}
		defer func() {
			if _, unlockErr := conn.ExecContext(ctx, "SELECT pg_advisory_unlock($1)", patienceLock); unlockErr != nil {
				// The session must not come back to the pool with the lock.
				_ = conn.Raw(func(any) error { return driver.ErrBadConn })
			}
		}()
	}
	sqlTx, err := conn.BeginTx(ctx, &sql.TxOptions{Isolation: level})
	if err != nil {
		return retryable(err), fmt.Errorf("begin: %w", err)
	}
	t := &tx{statements: newStatements(sqlTx, 0), ctx: ctx, feed: orderFeed, told: announceFeed}
	if err := t.run(do); err != nil {
		_ = sqlTx.Rollback() // fails where the connection is gone, and the transaction with it
		return retryable(err), err
	}
	if err := sqlTx.Commit(); err != nil {
		// A connection lost here may have committed: that is not run again.
		return refusedCommit(err), fmt.Errorf("commit: %w", err)
	}
	if t.head > 0 {
		p.db.raise(t.head)
		p.db.tell()
	}
	return false, nil
}

// orderFeed makes the numbers of the change feed visible in their order.
//
// A number is given out before its transaction commits: without more, change 8
// could be there before 7, and a follower that has read up to 8 would never
// see 7. So whoever appends holds this lock until the commit. The appending is
// the last thing a transaction does: nobody who holds the lock waits for
// another lock, and it is short. Only what takes away or alters access appends
// here; signing in, codes and refreshes do not.
func orderFeed(t *tx) error {
	_, err := t.Exec("SELECT pg_advisory_xact_lock($1)", feedLock)
	return err
}

// announceFeed wakes the followers; PostgreSQL sends it after the commit.
func announceFeed(t *tx) error {
	if _, err := t.Exec("SELECT pg_notify($1, '')", feedChannel); err != nil {
		return fmt.Errorf("announce changes: %w", err)
	}
	return nil
}

// refusedCommit says whether a transaction whose COMMIT returned err surely
// did not happen, because of others.
func refusedCommit(err error) bool {
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		return pe.Code == serializationFailure || pe.Code == deadlockDetected
	}
	// The server rolled back because a statement had failed whose error got
	// lost: had it been an ordinary one, it would fail again.
	return errors.Is(err, pgx.ErrTxCommitRollback)
}

// retryable says whether a transaction that ended with err before its COMMIT
// may succeed when it is run again.
func retryable(err error) bool {
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		switch pe.Code {
		case serializationFailure, deadlockDetected, failedTransaction, adminShutdown, crashShutdown, cannotConnectNow, outOfMemory:
			return true
		}
		return false
	}
	return lostConnection(err)
}

// lostConnection says whether err is that of a connection that was there and
// is not any more. That there is no new one is another error.
func lostConnection(err error) bool {
	var ce *pgconn.ConnectError
	var pe *pgconn.PgError
	if errors.As(err, &ce) {
		return false
	}
	if errors.As(err, &pe) {
		return pe.Code == adminShutdown || pe.Code == crashShutdown
	}
	var ne net.Error
	return errors.Is(err, driver.ErrBadConn) || pgconn.SafeToRetry(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.As(err, &ne) && !ne.Timeout()
}

// listen tells the followers in this process about commits of others. It is
// for promptness alone: followers also ask by themselves, so nothing is lost
// while there is no connection.
func (p *postgres) listen(ctx context.Context) {
	defer close(p.db.closed)
	const longest = 5 * time.Second
	delay := firstDelay
	for ctx.Err() == nil {
		heard, err := p.listenOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if heard {
			delay = firstDelay
		}
		p.db.log.Warn("not listening for changes; asking for them meanwhile", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(delay/2 + rand.N(delay)):
		}
		delay = min(2*delay, longest)
	}
}

func (p *postgres) listenOnce(ctx context.Context) (heard bool, err error) {
	conn, err := pgx.ConnectConfig(ctx, p.config)
	if err != nil {
		return false, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is lost with it
	if _, err := conn.Exec(ctx, "LISTEN "+feedChannel); err != nil {
		return false, err
	}
	for {
		// What was committed before LISTEN took hold is caught up with.
		p.db.tell()
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return true, err
		}
	}
}

// Lead runs do while this process is the one that leads in a task, and waits
// for being it. do's context ends when the lead is lost; then Lead returns, and
// may be called again. On SQLite there is one server, which leads.
func (db *DB) Lead(ctx context.Context, do func(context.Context)) error {
	if db.postgres == nil {
		do(ctx)
		return nil
	}
	return db.postgres.lead(ctx, do)
}

// leadInterval is how often a follower tries to become the leader, and the
// leader looks whether it still is.
const leadInterval = 2 * time.Second

func (p *postgres) lead(ctx context.Context, do func(context.Context)) error {
	conn, err := pgx.ConnectConfig(ctx, p.config)
	if err != nil {
		return fmt.Errorf("connect to stand for leader: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // closing gives the lock back
	tick := time.NewTicker(leadInterval)
	defer tick.Stop()
	for {
		var leads bool
		asked, cancel := context.WithTimeout(ctx, pgConnect)
		err := conn.QueryRow(asked, "SELECT pg_try_advisory_lock($1)", leaderLock).Scan(&leads)
		cancel()
		if err != nil {
			return fmt.Errorf("stand for leader: %w", err)
		}
		if leads {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	leading, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do(leading)
	}()
	for {
		select {
		case <-done:
			return nil
		case <-tick.C:
		}
		asked, cancel := context.WithTimeout(ctx, pgConnect)
		err := conn.Ping(asked)
		cancel()
		if err != nil && ctx.Err() == nil {
			stop()
			<-done
			return fmt.Errorf("the lead was lost: %w", err)
		}
	}
}
