package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/org"
)

// reconnectColumns are what the organization and the team of a grant ask of
// connections.
const reconnectColumns = `COALESCE(everybody.disconnect, ''), COALESCE(everybody.reconnect, ''), COALESCE(everybody.sign_in_age, 0),
	COALESCE(own.disconnect, ''), COALESCE(own.reconnect, ''), COALESCE(own.sign_in_age, 0)`

const reconnectJoins = ` LEFT JOIN reconnect_policies AS everybody ON everybody.team_id = ''
	LEFT JOIN reconnect_policies AS own ON own.team_id = grants.team_id`

type reconnectRow struct {
	organization, team org.Reconnect
	organizationAge    int64
	teamAge            int64
}

func (r *reconnectRow) fields() []any {
	return []any{&r.organization.Disconnect, &r.organization.Return, &r.organizationAge, &r.team.Disconnect, &r.team.Return, &r.teamAge}
}

func (r *reconnectRow) policy() grant.Policy {
	r.organization.SignInAge = time.Duration(r.organizationAge) * time.Millisecond
	r.team.SignInAge = time.Duration(r.teamAge) * time.Millisecond
	return grant.Policy{Organization: r.organization, Team: r.team}
}

// Reconnect implements org.Store.
func (db *DB) Reconnect(ctx context.Context, team org.TeamID) (org.Reconnect, error) {
	var (
		r   org.Reconnect
		age int64
	)
	err := db.read.QueryRowContext(ctx, "SELECT disconnect, reconnect, sign_in_age FROM reconnect_policies WHERE team_id = $1", string(team)).
		Scan(&r.Disconnect, &r.Return, &age)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return r, fmt.Errorf("read policy: %w", err)
	}
	r.SignInAge = time.Duration(age) * time.Millisecond
	return r, nil
}

// SetReconnect implements org.Store.
func (db *DB) SetReconnect(ctx context.Context, team org.TeamID, r org.Reconnect, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec(`INSERT INTO reconnect_policies (team_id, disconnect, reconnect, sign_in_age) VALUES ($1, $2, $3, $4)
			ON CONFLICT (team_id) DO UPDATE SET disconnect = excluded.disconnect, reconnect = excluded.reconnect, sign_in_age = excluded.sign_in_age`,
			string(team), r.Disconnect, r.Return, r.SignInAge.Milliseconds()); err != nil {
			return fmt.Errorf("set policy: %w", err)
		}
		id := string(team)
		if id == "" {
			id = access.AnyTeam
		}
		if err := t.change(access.PolicyChanged, id, ev.At); err != nil {
			return err
		}
		return t.record(ev)
	})
}
