package store

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/org"
)

// OpenGrants implements grant.Store.
func (db *DB) OpenGrants(ctx context.Context, person org.PersonID, client grant.ClientKey, resource string) ([]grant.Grant, error) {
	return query(ctx, db.read, func(rows *sql.Rows) (grant.Grant, error) {
		var g grantRow
		if err := rows.Scan(g.fields()...); err != nil {
			return grant.Grant{}, err
		}
		return g.grant()
	}, "SELECT "+grantColumns+` FROM grants
		WHERE grants.person_id = $1 AND grants.client_key = $2 AND grants.resource = $3 AND grants.ended_at = 0
		ORDER BY grants.created_at, grants.id`,
		string(person), string(client), resource)
}

// EndedConnections implements grant.Store.
func (db *DB) EndedConnections(ctx context.Context, person org.PersonID, after time.Time) ([]grant.Connection, error) {
	return query(ctx, db.read, scanConnection, selectConnections+`
		WHERE grants.person_id = $1 AND grants.ended_at > $2 AND grants.redeemed_at > 0
		ORDER BY grants.ended_at DESC, grants.id`,
		string(person), millis(after))
}

// selectConnections reads grants with their person, team and client.
const selectConnections = "SELECT " + grantColumns + ", " + personColumns + ", " + teamColumns + ", " + clientColumns + ` FROM grants
	JOIN people ON people.id = grants.person_id
	JOIN teams ON teams.id = grants.team_id
	JOIN clients ON clients.key = grants.client_key`

func scanConnection(rows *sql.Rows) (grant.Connection, error) {
	var (
		g    grantRow
		p    personRow
		t    teamRow
		c    clientRow
		conn grant.Connection
	)
	err := rows.Scan(slices.Concat(g.fields(), p.fields(), t.fields(), c.fields())...)
	if err != nil {
		return conn, err
	}
	conn.Person, conn.Team = p.person(), t.team()
	if conn.Grant, err = g.grant(); err != nil {
		return conn, err
	}
	conn.Client, err = c.client()
	return conn, err
}

// AddGrant implements grant.Store.
func (db *DB) AddGrant(ctx context.Context, g grant.Grant, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		if err := t.insertGrant(g); err != nil {
			return err
		}
		return t.record(ev)
	})
}
