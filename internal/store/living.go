package store

import (
	"context"
	"database/sql"

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
