package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
)

// AddIssuer implements grant.IssuerStore.
func (db *DB) AddIssuer(ctx context.Context, i grant.Issuer, ev audit.Event) error {
	teams, err := json.Marshal(i.Teams)
	if err != nil {
		return fmt.Errorf("encode teams: %w", err)
	}
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec("INSERT INTO trusted_issuers (issuer, jwks_uri, audience, private, teams, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
			i.URL, i.JWKSURI, i.Audience, i.Private, string(teams), millis(i.CreatedAt))
		if isUnique(err) {
			return grant.ErrIssuerExists
		}
		if err != nil {
			return fmt.Errorf("insert issuer: %w", err)
		}
		return t.record(ev)
	})
}

// RemoveIssuer implements grant.IssuerStore.
func (db *DB) RemoveIssuer(ctx context.Context, issuer string, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec("DELETE FROM trusted_issuers WHERE issuer = $1", issuer)
		if err != nil {
			return fmt.Errorf("delete issuer: %w", err)
		}
		if n == 0 {
			return grant.ErrIssuerUnknown
		}
		return t.record(ev)
	})
}

// Issuer implements grant.IssuerStore.
func (db *DB) Issuer(ctx context.Context, issuer string) (grant.Issuer, error) {
	all, err := query(ctx, db.read, scanIssuer, issuerQuery+" WHERE issuer = $1", issuer)
	if err != nil {
		return grant.Issuer{}, fmt.Errorf("read issuer: %w", err)
	}
	if len(all) == 0 {
		return grant.Issuer{}, grant.ErrIssuerUnknown
	}
	return all[0], nil
}

// Issuers implements grant.IssuerStore.
func (db *DB) Issuers(ctx context.Context) ([]grant.Issuer, error) {
	return query(ctx, db.read, scanIssuer, issuerQuery+" ORDER BY issuer")
}

const issuerQuery = "SELECT issuer, jwks_uri, audience, private, teams, created_at FROM trusted_issuers"

func scanIssuer(rows *sql.Rows) (grant.Issuer, error) {
	var (
		i       grant.Issuer
		teams   string
		created int64
	)
	if err := rows.Scan(&i.URL, &i.JWKSURI, &i.Audience, &i.Private, &teams, &created); err != nil {
		return i, err
	}
	i.CreatedAt = fromMillis(created)
	return i, json.Unmarshal([]byte(teams), &i.Teams)
}

// UseAssertion implements grant.IssuerStore.
func (db *DB) UseAssertion(ctx context.Context, hash string, expires time.Time, g grant.Grant, c grant.Client, change func(*grant.Standing) ([]audit.Event, error)) error {
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec("DELETE FROM used_assertions WHERE expires_at < $1", millis(g.CreatedAt.Add(-assertionSlack))); err != nil {
			return fmt.Errorf("sweep used assertions: %w", err)
		}
		_, err := t.exec("INSERT INTO used_assertions (hash, expires_at) VALUES ($1, $2)", hash, millis(expires))
		if isUnique(err) {
			return grant.ErrAssertionUsed
		}
		if err != nil {
			return fmt.Errorf("note assertion: %w", err)
		}
		id := g.ID
		err = t.QueryRowContext(ctx, `SELECT id FROM grants
			WHERE person_id = $1 AND client_key = $2 AND team_id = $3 AND resource = $4 AND acr = $5 AND scopes = $6 AND ended_at = 0
			ORDER BY created_at DESC LIMIT 1`,
			string(g.Person), string(g.Client), string(g.Team), g.Resource, g.ACR, g.Scopes.String()).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			if err = t.insertClient(c); err == nil {
				err = t.insertGrant(g)
			}
		}
		if err != nil {
			return fmt.Errorf("find or store grant: %w", err)
		}
		return t.changeGrant(ctx, id, change)
	})
}

// assertionSlack keeps a used assertion beyond its end for as long as clocks
// may differ.
const assertionSlack = 5 * time.Minute

// SweepAssertions forgets used assertions that have expired.
func (db *DB) SweepAssertions(ctx context.Context, now time.Time) error {
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec("DELETE FROM used_assertions WHERE expires_at < $1", millis(now.Add(-assertionSlack))); err != nil {
			return fmt.Errorf("sweep used assertions: %w", err)
		}
		return nil
	})
}

// UseOnce notes that what hash stands for was used, to be remembered until
// then. It returns false where that was noted before. It reads nothing, so that
// on PostgreSQL many at once do not come in each other's way.
func (db *DB) UseOnce(ctx context.Context, hash string, until time.Time) (first bool, err error) {
	err = db.update(ctx, func(t *tx) error {
		n, err := t.exec("INSERT INTO used_assertions (hash, expires_at) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING", hash, millis(until))
		if err != nil {
			return fmt.Errorf("note assertion: %w", err)
		}
		first = n == 1
		return nil
	})
	return first, err
}
