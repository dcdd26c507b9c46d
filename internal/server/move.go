package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/store"
)

// MovedTable is store.MovedTable.
type MovedTable = store.MovedTable

// MoveStore copies the state in a SQLite file ("" for that of the data
// directory) to PostgreSQL, and opens it there as a server would: with the
// master key, which stays where it is.
func MoveStore(ctx context.Context, c config.Store, from, to string, by audit.Actor) ([]MovedTable, error) {
	if from == "" {
		from = c.Path(storeFile)
	}
	if to == "" {
		return nil, errors.New("give the target with --to, or in ORIEL_DATABASE_URL")
	}
	running, ok, err := attach(ctx, &c)
	if err != nil {
		return nil, err
	}
	if ok {
		running.close()
		return nil, fmt.Errorf("a server runs over %s: stop it first, what it writes after the copy would be lost", c.DataDir)
	}
	moved, err := store.Move(ctx, from, to, audit.Event{At: time.Now(), Actor: by, Kind: audit.StoreMoved, Detail: "from SQLite to PostgreSQL"})
	if errors.Is(err, store.ErrNoSource) {
		return nil, fmt.Errorf("%w: give the data directory with --data-dir, or the file with --from sqlite:PATH", err)
	}
	if err != nil {
		return nil, err
	}
	c.DatabaseURL = to
	a, err := OpenAdmin(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("everything was copied, but cannot be used: %w", err)
	}
	return moved, a.Close()
}
