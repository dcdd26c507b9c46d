// Package pgtest gives tests databases of a real PostgreSQL that it starts
// once for each test process, on a socket in a temporary folder, without the
// waits for the disk. The server ends with the process, however that ends.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Variable chooses the database of a whole test run: sqlite or postgres.
const Variable = "ORIEL_TEST_DATABASE"

// Wanted says whether the tests are to run on PostgreSQL. It panics about a
// value of Variable that it does not know: a run must not pass on the wrong
// one.
func Wanted() bool {
	switch v := os.Getenv(Variable); v {
	case "", "sqlite":
		return false
	case "postgres":
		return true
	default:
		panic(Variable + "=" + v + ": write sqlite or postgres")
	}
}

// startTimeout bounds the start of the server.
const startTimeout = time.Minute

// missing says what to do where there is no PostgreSQL: a test that needs it
// fails, it is never left out.
const missing = "PostgreSQL is not installed: apt-get install postgresql (or run make test, which does)"

// Server is a PostgreSQL server of the tests'.
type Server struct {
	dir  string
	made atomic.Int64
	// alive is the pipe whose end is the server's.
	alive io.WriteCloser
}

var started = sync.OnceValues(Start)

// templates holds, by name, the databases that others are copied from.
var templates sync.Map

type template struct {
	once sync.Once
	err  error

	mu   sync.Mutex // guards free
	free []string   // databases that were emptied after a test
}

// take returns a database of an earlier test, "" for none.
func (t *template) take() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.free)
	if n == 0 {
		return ""
	}
	name := t.free[n-1]
	t.free = t.free[:n-1]
	return name
}

func (t *template) give(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.free = append(t.free, name)
}

// Empty returns the URL of a new database with nothing in it, which is
// dropped with the test.
func Empty(tb testing.TB) string {
	tb.Helper()
	return shared(tb).create(tb, "template0")
}

// Copy returns the URL of a copy of the database name, in which prepare makes
// tables once for each process; they are empty. To make and to drop a database
// takes longer than many a test, so a later test may get it again, emptied.
func Copy(tb testing.TB, name string, prepare func(url string) error) string {
	tb.Helper()
	s := shared(tb)
	v, _ := templates.LoadOrStore(name, new(template))
	t := v.(*template) //nolint:forcetypeassert // nothing else is stored
	t.once.Do(func() {
		if t.err = s.Exec(tb.Context(), "CREATE DATABASE "+name+" ENCODING 'UTF8' TEMPLATE template0"); t.err == nil {
			t.err = prepare(s.URL(name))
		}
	})
	if t.err != nil {
		tb.Fatalf("make the database %s: %v", name, t.err)
	}
	own := t.take()
	if own == "" {
		own = s.make(tb, name)
	}
	tb.Cleanup(func() {
		if err := s.empty(context.Background(), own); err != nil {
			tb.Errorf("empty a database: %v", err)
			return
		}
		t.give(own)
	})
	return s.URL(own)
}

// empty removes every row, but for the notes about migrations, and ends the
// sessions that somebody left.
func (s *Server) empty(ctx context.Context, name string) error {
	if err := s.Exec(ctx, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '"+name+"'"); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, s.URL(name))
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	_, err = conn.Exec(ctx, `DO $$
		DECLARE t RECORD;
		BEGIN
			SET LOCAL session_replication_role = replica; -- no table waits for another
			FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'goose%' LOOP
				EXECUTE format('DELETE FROM %I', t.tablename);
			END LOOP;
			PERFORM setval(format('%I', sequencename), 1, false) FROM pg_sequences WHERE schemaname = 'public' AND sequencename NOT LIKE 'goose%';
		END $$`)
	return errors.Join(err, conn.Close(ctx))
}

// Shared returns the server of this process, for tests that do something to
// its sessions.
func Shared(tb testing.TB) *Server {
	tb.Helper()
	return shared(tb)
}

func shared(tb testing.TB) *Server {
	tb.Helper()
	s, err := started()
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func (s *Server) make(tb testing.TB, from string) string {
	tb.Helper()
	name := fmt.Sprintf("test%d", s.made.Add(1))
	if err := s.Exec(tb.Context(), "CREATE DATABASE "+name+" ENCODING 'UTF8' TEMPLATE "+from); err != nil {
		tb.Fatalf("make a database: %v", err)
	}
	return name
}

func (s *Server) create(tb testing.TB, from string) string {
	tb.Helper()
	name := s.make(tb, from)
	tb.Cleanup(func() {
		if err := s.Exec(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			tb.Errorf("drop a database: %v", err)
		}
	})
	return s.URL(name)
}

// URL returns that of a database of the server's.
func (s *Server) URL(database string) string {
	return (&url.URL{Scheme: "postgres", User: url.User("oriel"), Path: "/" + database, RawQuery: url.Values{"host": {s.dir}, "port": {"5432"}}.Encode()}).String()
}

// Exec runs a statement in the database that administers the others.
func (s *Server) Exec(ctx context.Context, text string) error {
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	_, err = conn.Exec(ctx, text)
	return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
}

// program finds one of the server's programs, the newest installed.
func program(name string) (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		version := func(p string) int {
			n, _ := strconv.Atoi(strings.Split(p, "/")[4])
			return n
		}
		return slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) }), nil
	}
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	return "", errors.New(missing)
}

// Start starts a server that ends with this process.
func Start() (*Server, error) {
	initdb, err := program("initdb")
	if err != nil {
		return nil, err
	}
	postgres, err := program("postgres")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "oriel-pg-")
	if err != nil {
		return nil, err
	}
	as := &syscall.SysProcAttr{}
	if os.Getuid() == 0 {
		// It refuses to run as root.
		if as.Credential, err = credential("postgres"); err != nil {
			return nil, err
		}
		if err := os.Chown(dir, int(as.Credential.Uid), int(as.Credential.Gid)); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(dir, "data")
	initialize := exec.Command(initdb, "-D", data, "-U", "oriel", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
	initialize.SysProcAttr, initialize.Dir = as, dir
	if out, err := initialize.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	// The shell's input is a pipe that this process holds: it closes with the
	// process, and the shell ends the server and removes the folder.
	const script = `"$@" & cat >/dev/null; kill -QUIT $!; wait; cd /; rm -rf "$ORIEL_PG_DIR"`
	args := []string{"-c", script, "sh", postgres, "-D", data, "-k", dir, "-p", "5432", "-c", "listen_addresses="}
	for _, setting := range []string{
		"fsync=off", "synchronous_commit=off", "full_page_writes=off", "wal_level=minimal", "max_wal_senders=0",
		"max_connections=400", "shared_buffers=64MB", "autovacuum_naptime=10min", "checkpoint_timeout=1h", "log_min_messages=fatal",
	} {
		args = append(args, "-c", setting)
	}
	run := exec.Command("/bin/sh", args...)
	run.SysProcAttr, run.Dir = as, dir
	run.Env = append(os.Environ(), "ORIEL_PG_DIR="+dir)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() //nolint:errcheck // the server has its own
	run.Stdout, run.Stderr = log, log
	alive, err := run.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := run.Start(); err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	s := &Server{dir: dir, alive: alive}
	deadline := time.Now().Add(startTimeout)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		err := s.Exec(context.Background(), "SELECT 1")
		if err == nil {
			return s, nil
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(filepath.Join(dir, "log"))
			return nil, fmt.Errorf("PostgreSQL does not start: %w\n%s", err, text)
		}
	}
}

func credential(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("%s (there is no user %s)", missing, name)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
