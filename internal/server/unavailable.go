package server

import (
	"errors"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/store"
)

// unavailable says whether an error will pass by itself: the database is away,
// or the gate is not sure of its state because it was.
func unavailable(err error) bool {
	return store.Unavailable(err) || errors.Is(err, access.ErrNotCurrent)
}
