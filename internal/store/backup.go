package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/pressly/goose/v3"
)

// Backup writes a consistent copy of the database to a file that must not
// exist, while others read and write; SQLite only. When it returns, the copy is sound and on
// disk.
func (db *DB) Backup(ctx context.Context, path string) (err error) {
	if db.postgres != nil {
		return errors.New("the state is in PostgreSQL: back it up with pg_dump -Fc, and restore it with pg_restore while no server runs")
	}
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("back up the database: %s exists already", path)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("back up the database: %w", err)
	}
	part := path + ".part"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("back up the database: %w", err)
	}
	// SQLite wants to make the file itself, or finds it empty: so nobody else
	// can open it in between.
	f, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("back up the database: %w", err)
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			_ = os.Remove(part)
		}
	}()
	if _, err := db.read.ExecContext(ctx, "VACUUM INTO $1", part); err != nil {
		return fmt.Errorf("back up the database: %w", err)
	}
	if _, err := CheckFile(ctx, part); err != nil {
		return fmt.Errorf("the copy is not sound: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("back up the database: %w", err)
	}
	if err := os.Rename(part, path); err != nil {
		return fmt.Errorf("back up the database: %w", err)
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}

// A File is what CheckFile found.
type File struct {
	// Version is that of the schema.
	Version int64
	// People, Teams and Connections are how many there are; ended connections
	// do not count.
	People, Teams, Connections int64
}

// CheckFile looks whether a file that nobody writes to is a sound database of
// ours, of a schema that this program knows. It changes nothing.
func CheckFile(ctx context.Context, path string) (File, error) {
	if _, err := os.Stat(path); err != nil {
		return File{}, fmt.Errorf("look at the database: %w", err)
	}
	dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: "mode=ro&immutable=1"}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return File{}, fmt.Errorf("open %s: %w", path, err)
	}
	defer db.Close()
	var sound string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&sound); err != nil {
		return File{}, fmt.Errorf("%s is no SQLite database that can be read: %w", path, err)
	}
	if sound != "ok" {
		return File{}, fmt.Errorf("%s is damaged: %s", path, sound)
	}
	var f File
	if err := db.QueryRowContext(ctx, "SELECT max(version_id) FROM "+goose.DefaultTablename).Scan(&f.Version); err != nil {
		return File{}, fmt.Errorf("%s is not a database of Oriel: it has no schema version", path)
	}
	newest, err := newestVersion()
	if err != nil {
		return File{}, err
	}
	if f.Version > newest {
		return File{}, fmt.Errorf("%s was written by a newer Oriel (schema %d, this one knows %d): use that version", path, f.Version, newest)
	}
	for text, n := range map[string]*int64{
		"SELECT count(*) FROM people": &f.People, "SELECT count(*) FROM teams": &f.Teams, "SELECT count(*) FROM grants WHERE ended_at = 0": &f.Connections,
	} {
		if err := db.QueryRowContext(ctx, text).Scan(n); err != nil {
			return File{}, fmt.Errorf("%s is not a database of Oriel: %w", path, err)
		}
	}
	return f, nil
}

// newestVersion is the schema's that this program makes.
func newestVersion() (newest int64, err error) {
	entries, err := fs.ReadDir(migrations, "migrations")
	if err != nil {
		return 0, fmt.Errorf("read migrations: %w", err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".sql") {
			continue
		}
		n, err := goose.NumericComponent(e.Name())
		if err != nil {
			return 0, fmt.Errorf("read migrations: %w", err)
		}
		newest = max(newest, n)
	}
	return newest, nil
}
