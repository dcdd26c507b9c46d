package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/store"
)

// Backup copies the database to a new file while the server goes on, and says
// what is in it. The master key is not.
func (a *Admin) Backup(ctx context.Context, to string) (store.File, error) {
	if err := a.db.Backup(ctx, to); err != nil {
		return store.File{}, err
	}
	return store.CheckFile(ctx, to)
}

// RestoreConfig says what to restore.
type RestoreConfig struct {
	Store config.Store
	From  string
	// Replace allows that there is a database already; it is kept beside the
	// new one.
	Replace bool
	// EndConnections ends every connection and session that is in the copy.
	EndConnections bool
	By             audit.Actor
}

// Restored is what was restored.
type Restored struct {
	store.File
	// Kept is where the former database is now, "" where there was none.
	Kept string
	// Ended counts the connections that were ended.
	Ended int
}

// Restore puts a copy of the database into the data directory. Before it
// changes anything it sees that no server runs there, that the copy is sound
// and of a version that this program knows, and that the master key opens it.
func Restore(ctx context.Context, c RestoreConfig) (r Restored, err error) {
	if c.Store.DatabaseURL != "" {
		return r, errors.New("the state is in PostgreSQL: restore it with pg_restore while no server runs; oriel restore is for SQLite (unset ORIEL_DATABASE_URL)")
	}
	client, running, err := attach(ctx, &c.Store)
	if err != nil {
		return r, err
	}
	if running {
		client.close()
		return r, errors.New("a server runs over this data directory: stop it first")
	}
	if r.File, err = store.CheckFile(ctx, c.From); err != nil {
		return r, err
	}
	target := c.Store.Path(storeFile)
	if _, err := os.Stat(target); err == nil && !c.Replace {
		return r, fmt.Errorf("there is a database in %s already: --replace puts it aside and restores", c.Store.DataDir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("restore the database: %w", err)
	}
	if !c.Store.HasMasterKey() {
		return r, fmt.Errorf("there is no master key: put the one that belongs to the copy into %s (readable for its owner only), or set ORIEL_MASTER_KEY, first", c.Store.Path("master.key"))
	}
	master, err := c.Store.Prepare()
	if err != nil {
		return r, err
	}
	part := target + ".restoring"
	defer func() { err = errors.Join(err, removeAll(part)) }()
	if err := copyFile(c.From, part); err != nil {
		return r, err
	}
	if err := opens(ctx, part, master); err != nil {
		return r, err
	}
	if r.Kept, err = putAside(target, time.Now()); err != nil {
		return r, err
	}
	if err := os.Rename(part, target); err != nil {
		return r, fmt.Errorf("restore the database: %w", err)
	}
	if c.EndConnections {
		r.Ended, err = endEverything(ctx, c.Store, c.By)
	}
	return r, err
}

// opens says whether the master key opens the keys in a database, which it
// brings up to date.
func opens(ctx context.Context, path string, master grant.MasterKey) error {
	db, err := store.Open(ctx, store.Config{Path: path})
	if err != nil {
		return err
	}
	_, err = grant.OpenKeyring(ctx, db, master, time.Now)
	return errors.Join(err, db.Close())
}

// sideFiles are SQLite's beside a database.
var sideFiles = []string{"", "-wal", "-shm"}

func removeAll(path string) error {
	var errs []error
	for _, side := range sideFiles {
		if err := os.Remove(path + side); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// putAside renames the database that is there, if one is.
func putAside(path string, now time.Time) (kept string, err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	kept = path + ".before-" + now.UTC().Format("20060102T150405Z")
	for _, side := range sideFiles {
		if err := os.Rename(path+side, kept+side); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("put the former database aside: %w", err)
		}
	}
	return kept, nil
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("restore the database: %w", err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("restore the database: %w", err)
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("restore the database: %w", err)
	}
	return nil
}

// endEverything ends what was in use when the copy was made: some of it may
// have been ended since.
func endEverything(ctx context.Context, c config.Store, by audit.Actor) (ended int, err error) {
	a, err := OpenAdmin(ctx, c)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	conns, err := a.Authority.Connections(ctx, grant.ConnectionFilter{})
	if err != nil {
		return 0, err
	}
	for _, k := range conns {
		if err := a.Authority.EndGrant(ctx, k.Grant.ID, "the database was restored", by); err != nil {
			return ended, err
		}
		ended++
	}
	now := time.Now()
	return ended, a.db.SweepSessions(ctx, now, now)
}
