package store

import (
	"fmt"
	"slices"

	"github.com/orielhq/oriel/internal/grant"
)

// maxKnownStandings bounds what the writer remembers, some 2 KB each.
const maxKnownStandings = 4096

// standings is what the writer remembers of the standings it read, so that a
// refresh, the most frequent write, need not read the same rows again. The
// writer alone uses it, inside its transaction, where the rule is simple:
// SQLite's data_version says whether anybody else wrote since, and any write
// of our own that may alter a standing forgets them all.
type standings struct {
	known map[grant.ID]grant.Standing
	// version is the data_version at which known was true.
	version int64
}

// check forgets everything if another connection, also one of another
// process, has written since. It belongs at the beginning of a transaction.
func (k *standings) check(t *tx) error {
	var version int64
	if err := t.statements.QueryRowContext(t.ctx, "PRAGMA data_version").Scan(&version); err != nil {
		return fmt.Errorf("read the version of the data: %w", err)
	}
	if version != k.version {
		k.forget()
		k.version = version
	}
	return nil
}

func (k *standings) forget() {
	if k != nil {
		clear(k.known)
	}
}

// recall returns a copy that the caller may change as far as a change of a
// grant does.
func (k *standings) recall(id grant.ID) *grant.Standing {
	if k == nil {
		return nil
	}
	s, ok := k.known[id]
	if !ok {
		return nil
	}
	s.Grant.Superseded = slices.Clone(s.Grant.Superseded)
	return &s
}

// remember keeps a standing as it would be read again.
func (k *standings) remember(s grant.Standing) {
	if k == nil {
		return
	}
	if k.known == nil || len(k.known) >= maxKnownStandings {
		k.known = make(map[grant.ID]grant.Standing)
	}
	g := &s.Grant
	g.Superseded = slices.Clone(g.Superseded)
	for i := range g.Superseded {
		g.Superseded[i].At = fromMillis(millis(g.Superseded[i].At))
	}
	g.RedeemedAt, g.LastUsedAt, g.EndedAt = fromMillis(millis(g.RedeemedAt)), fromMillis(millis(g.LastUsedAt)), fromMillis(millis(g.EndedAt))
	k.known[g.ID] = s
}
