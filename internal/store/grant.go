package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
)

var _ grant.Store = (*DB)(nil)

// querier is what reading needs of a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

const grantColumns = `grants.id, grants.person_id, grants.client_key, grants.team_id, grants.resource, grants.scopes,
	grants.auth_time, grants.amr, grants.acr, grants.created_at, grants.redeemed_at, grants.last_used_at,
	grants.ended_at, grants.end_reason, grants.generation, grants.superseded, grants.dpop_jkt`

type grantRow struct {
	g                                          grant.Grant
	scopes, amr, superseded                    string
	authTime, created, redeemed, used, endedAt int64
}

func (r *grantRow) fields() []any {
	return []any{
		&r.g.ID, &r.g.Person, &r.g.Client, &r.g.Team, &r.g.Resource, &r.scopes, &r.authTime, &r.amr, &r.g.ACR,
		&r.created, &r.redeemed, &r.used, &r.endedAt, &r.g.EndReason, &r.g.Generation, &r.superseded, &r.g.Key,
	}
}

func (r *grantRow) grant() (grant.Grant, error) {
	g := r.g
	g.Scopes = spec.ParseScopes(r.scopes)
	g.AuthTime, g.CreatedAt, g.RedeemedAt = fromMillis(r.authTime), fromMillis(r.created), fromMillis(r.redeemed)
	g.LastUsedAt, g.EndedAt = fromMillis(r.used), fromMillis(r.endedAt)
	if err := json.Unmarshal([]byte(r.amr), &g.AMR); err != nil {
		return g, fmt.Errorf("grant %s: amr: %w", g.ID, err)
	}
	var err error
	g.Superseded, err = parseSuperseded(r.superseded)
	if err != nil {
		return g, fmt.Errorf("grant %s: superseded: %w", g.ID, err)
	}
	return g, nil
}

// Rotations are stored as a JSON array of [generation, milliseconds]. They are
// read and written by hand: every refresh does both, for up to 32 of them.

func parseSuperseded(s string) ([]grant.Rotation, error) {
	rest, ok := strings.CutPrefix(s, "[")
	if !ok || !strings.HasSuffix(rest, "]") {
		return nil, errors.New("not a list")
	}
	rest = strings.TrimSuffix(rest, "]")
	out := make([]grant.Rotation, 0, strings.Count(rest, "[")+1) // and the one that a refresh adds
	for rest != "" {
		pair, after, closed := strings.Cut(rest, "]")
		generation, ms, two := strings.Cut(strings.TrimPrefix(pair, "["), ",")
		n, err := strconv.ParseUint(generation, 10, 32)
		at, err2 := strconv.ParseInt(ms, 10, 64)
		if !closed || !two || !strings.HasPrefix(pair, "[") || err != nil || err2 != nil {
			return nil, fmt.Errorf("not a pair of numbers: %w", errors.Join(err, err2))
		}
		out = append(out, grant.Rotation{Generation: uint32(n), At: fromMillis(at)})
		if after != "" {
			if after, ok = strings.CutPrefix(after, ","); !ok || after == "" {
				return nil, errors.New("not a list of pairs")
			}
		}
		rest = after
	}
	return out, nil
}

func formatSuperseded(rs []grant.Rotation) string {
	b := make([]byte, 1, 2+len(rs)*24)
	b[0] = '['
	for i, r := range rs {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(append(b, '['), uint64(r.Generation), 10)
		b = append(strconv.AppendInt(append(b, ','), millis(r.At), 10), ']')
	}
	return string(append(b, ']'))
}

const clientColumns = `clients.client_id, clients.kind, clients.metadata, clients.secret_hash, clients.service_person, clients.created_at,
	EXISTS (SELECT 1 FROM blocked_products WHERE blocked_products.product = clients.product
		OR blocked_products.product IN (SELECT 'host:' || client_hosts.host FROM client_hosts WHERE client_hosts.client_key = clients.key))`

type clientRow struct {
	c        grant.Client
	metadata string
	created  int64
}

func (r *clientRow) fields() []any {
	return []any{&r.c.ID, &r.c.Kind, &r.metadata, &r.c.SecretHash, &r.c.Service, &r.created, &r.c.Blocked}
}

func (r *clientRow) client() (grant.Client, error) {
	r.c.CreatedAt = fromMillis(r.created)
	if err := json.Unmarshal([]byte(r.metadata), &r.c.Metadata); err != nil {
		return r.c, fmt.Errorf("client %s: metadata: %w", r.c.Key(), err)
	}
	return r.c, nil
}

// standingQuery reads a grant with all that its life depends on. What groups
// give, and custom roles, come from further statements where the person has
// any.
const standingQuery = "SELECT " + grantColumns + ", " + personColumns + ", " + teamColumns + ", " + clientColumns + `,
	COALESCE((SELECT roles FROM members WHERE members.team_id = grants.team_id AND members.person_id = grants.person_id), '[]'),
	EXISTS (SELECT 1 FROM group_members WHERE group_members.person_id = grants.person_id),
	` + organizationMFA + `, COALESCE((SELECT mfa FROM mfa_policies WHERE mfa_policies.team_id = grants.team_id), 'optional'), ` + reconnectColumns + `
	FROM grants
	JOIN people ON people.id = grants.person_id
	JOIN teams ON teams.id = grants.team_id
	JOIN clients ON clients.key = grants.client_key` + reconnectJoins + `
	WHERE grants.id = $1`

func standing(ctx context.Context, q querier, id grant.ID) (*grant.Standing, error) {
	var (
		g     grantRow
		p     personRow
		t     teamRow
		c     clientRow
		roles string
		inAny bool // group

		demanded, byTeam org.MFA
		reconnect        reconnectRow
	)
	err := q.QueryRowContext(ctx, standingQuery, string(id)).Scan(
		slices.Concat(g.fields(), p.fields(), t.fields(), c.fields(), []any{&roles, &inAny, &demanded, &byTeam}, reconnect.fields())...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, grant.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read standing: %w", err)
	}
	s := &grant.Standing{Person: p.person(), Team: t.team(), MFA: demanded.Stricter(byTeam), Policy: reconnect.policy()}
	if s.Grant, err = g.grant(); err != nil {
		return nil, err
	}
	if s.Client, err = c.client(); err != nil {
		return nil, err
	}
	var names []string
	if err := json.Unmarshal([]byte(roles), &names); err != nil {
		return nil, fmt.Errorf("roles of %s: %w", s.Person.ID, err)
	}
	if inAny {
		more, err := rolesThroughGroups(ctx, q, s.Person.ID, s.Team.ID)
		if err != nil {
			return nil, err
		}
		for _, name := range more {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	var custom []org.Role
	if slices.ContainsFunc(names, func(n string) bool { return !org.IsBuiltInRole(n) }) {
		if custom, err = query(ctx, q, scanRole, customRoles, string(s.Team.ID)); err != nil {
			return nil, err
		}
	}
	s.Roles = org.StandingOf(names, custom)
	return s, nil
}

// Standing implements grant.Store and access.Source.
func (db *DB) Standing(ctx context.Context, id grant.ID) (*grant.Standing, error) {
	return standing(ctx, db.read, id)
}

// Approve implements grant.Store.
func (db *DB) Approve(ctx context.Context, g grant.Grant, code grant.CodeState, c grant.Client, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		var n int
		if err := t.QueryRow("SELECT count(*) FROM codes WHERE hash = $1", string(code.Hash)).Scan(&n); err != nil {
			return fmt.Errorf("look for the code: %w", err)
		}
		if n > 0 {
			return grant.ErrConsentUsed
		}
		if err := t.insertClient(c); err != nil {
			return err
		}
		if err := t.insertGrant(g); err != nil {
			return err
		}
		if _, err := t.exec(`INSERT INTO codes (hash, grant_id, redirect_uri, code_challenge, nonce, dpop_jkt, created_at, expires_at, used_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0)`,
			string(code.Hash), string(g.ID), code.RedirectURI, code.Challenge, code.Nonce, code.Key, millis(code.CreatedAt), millis(code.ExpiresAt)); err != nil {
			return fmt.Errorf("insert code: %w", err)
		}
		return t.record(ev)
	})
}

func (t *tx) insertGrant(g grant.Grant) error {
	amr, err := json.Marshal(append([]string{}, g.AMR...))
	if err != nil {
		return fmt.Errorf("encode amr: %w", err)
	}
	if _, err := t.exec(`INSERT INTO grants (id, person_id, client_key, team_id, resource, scopes, auth_time, amr, acr,
			created_at, redeemed_at, last_used_at, ended_at, end_reason, generation, superseded)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, '', 0, '[]')`,
		string(g.ID), string(g.Person), string(g.Client), string(g.Team), g.Resource, g.Scopes.String(),
		millis(g.AuthTime), string(amr), g.ACR, millis(g.CreatedAt), millis(g.RedeemedAt), millis(g.LastUsedAt)); err != nil {
		return fmt.Errorf("insert grant: %w", err)
	}
	return nil
}

// insertClient stores a client unless it is there. A metadata document may
// have changed since; the newest is kept.
func (t *tx) insertClient(c grant.Client) error {
	metadata, err := json.Marshal(c.Metadata)
	if err != nil {
		return fmt.Errorf("encode client metadata: %w", err)
	}
	if _, err := t.exec(`INSERT INTO clients (key, client_id, kind, product, metadata, secret_hash, service_person, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (key) DO UPDATE SET metadata = excluded.metadata`,
		string(c.Key()), string(c.ID), string(c.Kind), c.Product(), string(metadata), c.SecretHash, string(c.Service), millis(c.CreatedAt)); err != nil {
		return fmt.Errorf("insert client: %w", err)
	}
	return t.setClientHosts(c)
}

// ChangeByCode implements grant.Store.
func (db *DB) ChangeByCode(ctx context.Context, h grant.CodeHash, change func(*grant.CodeState, *grant.Standing) ([]audit.Event, error)) error {
	return db.update(ctx, func(t *tx) error {
		code := grant.CodeState{Hash: h}
		var created, expires, used int64
		err := t.QueryRow("SELECT grant_id, redirect_uri, code_challenge, nonce, dpop_jkt, created_at, expires_at, used_at FROM codes WHERE hash = $1",
			string(h)).Scan(&code.Grant, &code.RedirectURI, &code.Challenge, &code.Nonce, &code.Key, &created, &expires, &used)
		if errors.Is(err, sql.ErrNoRows) {
			return grant.ErrCodeUnknown
		}
		if err != nil {
			return fmt.Errorf("read code: %w", err)
		}
		code.CreatedAt, code.ExpiresAt, code.UsedAt = fromMillis(created), fromMillis(expires), fromMillis(used)
		wasUsed := code.UsedAt
		if err := t.changeGrant(ctx, code.Grant, func(s *grant.Standing) ([]audit.Event, error) { return change(&code, s) }); err != nil {
			return err
		}
		if code.UsedAt.Equal(wasUsed) {
			return nil
		}
		if _, err := t.apart(t.ctx, "UPDATE codes SET used_at = $1 WHERE hash = $2", millis(code.UsedAt), string(h)); err != nil {
			return fmt.Errorf("use code: %w", err)
		}
		return nil
	})
}

// ChangeGrant implements grant.Store.
func (db *DB) ChangeGrant(ctx context.Context, id grant.ID, change func(*grant.Standing) ([]audit.Event, error)) error {
	return db.update(ctx, func(t *tx) error { return t.changeGrant(ctx, id, change) })
}

// changeGrant stores what change did to the fields of a grant that can
// change. Only the end of a grant concerns those who follow the feed; a
// rotated refresh token does not.
func (t *tx) changeGrant(ctx context.Context, id grant.ID, change func(*grant.Standing) ([]audit.Event, error)) error {
	s := t.standings.recall(id)
	if s == nil {
		var err error
		// Not with the caller's context, whose end would cost a goroutine to watch.
		if s, err = standing(t.ctx, t, id); err != nil {
			return err
		}
		t.standings.remember(*s)
	}
	before := s.Grant
	before.Superseded = slices.Clone(before.Superseded)
	events, err := change(s)
	if err != nil {
		return err
	}
	g := s.Grant
	if g.Generation != before.Generation || !g.RedeemedAt.Equal(before.RedeemedAt) || !g.LastUsedAt.Equal(before.LastUsedAt) ||
		!g.EndedAt.Equal(before.EndedAt) || !slices.Equal(g.Superseded, before.Superseded) {
		if _, err := t.apart(t.ctx, `UPDATE grants SET redeemed_at = $1, last_used_at = $2, ended_at = $3, end_reason = $4, generation = $5, superseded = $6, dpop_jkt = $7
			WHERE id = $8`,
			millis(g.RedeemedAt), millis(g.LastUsedAt), millis(g.EndedAt), g.EndReason, int64(g.Generation), formatSuperseded(g.Superseded), g.Key, string(id)); err != nil {
			return fmt.Errorf("update grant: %w", err)
		}
		t.standings.remember(*s)
	}
	if !g.EndedAt.Equal(before.EndedAt) {
		if err := t.change(access.GrantChanged, string(id), g.EndedAt); err != nil {
			return err
		}
	}
	return t.record(events...)
}

// Connections implements grant.Store. What is not asked for is not in the
// statement: "$1 = ” OR person_id = $1" would read every grant there is.
func (db *DB) Connections(ctx context.Context, f grant.ConnectionFilter) ([]grant.Connection, error) {
	text, args := connectionsQuery(f)
	return query(ctx, db.read, scanConnection, text, args...)
}

func connectionsQuery(f grant.ConnectionFilter) (text string, args []any) {
	text = selectConnections + " WHERE grants.ended_at = 0 AND grants.redeemed_at > 0"
	for _, by := range []struct{ column, value string }{
		{"person_id", string(f.Person)}, {"client_key", string(f.Client)}, {"team_id", string(f.Team)},
	} {
		if by.value != "" {
			args = append(args, by.value)
			text += fmt.Sprintf(" AND grants.%s = $%d", by.column, len(args))
		}
	}
	return text + " ORDER BY grants.last_used_at DESC, grants.id", args
}

// SaveClient implements grant.Store.
func (db *DB) SaveClient(ctx context.Context, c grant.Client, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		if err := t.insertClient(c); err != nil {
			return err
		}
		return t.record(ev)
	})
}

// ClientByKey implements grant.Store.
func (db *DB) ClientByKey(ctx context.Context, key grant.ClientKey) (grant.Client, error) {
	var r clientRow
	err := db.read.QueryRowContext(ctx, "SELECT "+clientColumns+" FROM clients WHERE key = $1", string(key)).Scan(r.fields()...)
	if errors.Is(err, sql.ErrNoRows) {
		return grant.Client{}, grant.ErrClientUnknown
	}
	if err != nil {
		return grant.Client{}, fmt.Errorf("read client: %w", err)
	}
	return r.client()
}

// Clients implements grant.Store.
func (db *DB) Clients(ctx context.Context) ([]grant.Client, error) {
	return query(ctx, db.read, func(rows *sql.Rows) (grant.Client, error) {
		var r clientRow
		if err := rows.Scan(r.fields()...); err != nil {
			return grant.Client{}, err
		}
		return r.client()
	}, "SELECT "+clientColumns+" FROM clients ORDER BY product, created_at")
}

// ProductBlocked implements grant.Store.
func (db *DB) ProductBlocked(ctx context.Context, products ...string) (bool, error) {
	if len(products) == 0 {
		return false, nil
	}
	places, args := make([]string, len(products)), make([]any, len(products))
	for i, p := range products {
		places[i], args[i] = fmt.Sprintf("$%d", i+1), p
	}
	var n int
	if err := db.read.QueryRowContext(ctx, "SELECT count(*) FROM blocked_products WHERE product IN ("+strings.Join(places, ", ")+")", args...).Scan(&n); err != nil {
		return false, fmt.Errorf("look for a block: %w", err)
	}
	return n > 0, nil
}

// SetProductBlocked implements grant.Store.
func (db *DB) SetProductBlocked(ctx context.Context, product string, blocked bool, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		var err error
		if strings.HasPrefix(product, grant.HostProduct) {
			if err := t.setAllClientHosts(ctx); err != nil {
				return err
			}
		}
		if blocked {
			_, err = t.exec("INSERT INTO blocked_products (product, blocked_at) VALUES ($1, $2) ON CONFLICT (product) DO NOTHING", product, millis(ev.At))
		} else {
			_, err = t.exec("DELETE FROM blocked_products WHERE product = $1", product)
		}
		if err != nil {
			return fmt.Errorf("set block: %w", err)
		}
		if err := t.change(access.ClientChanged, access.AnyClient, ev.At); err != nil {
			return err
		}
		return t.record(ev)
	})
}

// EndClientGrants implements grant.Store.
func (db *DB) EndClientGrants(ctx context.Context, key grant.ClientKey, reason string, at time.Time, ev audit.Event) (int, error) {
	return db.endGrants(ctx, "client_key = $1", string(key), string(key), reason, at, ev)
}

// SigningKeys implements grant.Store.
func (db *DB) SigningKeys(ctx context.Context) ([]grant.SealedKey, error) {
	return query(ctx, db.read, func(rows *sql.Rows) (grant.SealedKey, error) {
		var (
			k               grant.SealedKey
			created, active int64
		)
		err := rows.Scan(&k.ID, &k.Algorithm, &created, &active, &k.Sealed)
		k.CreatedAt, k.ActiveAt = fromMillis(created), fromMillis(active)
		return k, err
	}, `SELECT id, alg, created_at, CASE active_at WHEN 0 THEN created_at ELSE active_at END AS active, sealed
		FROM signing_keys ORDER BY created_at DESC, id`)
}

// AddSigningKey implements grant.Store.
func (db *DB) AddSigningKey(ctx context.Context, k grant.SealedKey, notBefore time.Time, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec(`INSERT INTO signing_keys (id, alg, created_at, active_at, sealed)
			SELECT $1, $2, $3, $4, $5 WHERE NOT EXISTS (SELECT 1 FROM signing_keys WHERE alg = $2 AND created_at > $6)`,
			k.ID, k.Algorithm, millis(k.CreatedAt), millis(k.ActiveAt), k.Sealed, millis(notBefore))
		if err != nil {
			return fmt.Errorf("insert signing key: %w", err)
		}
		if n == 0 {
			return nil
		}
		if err := t.change(access.SigningKeyChanged, k.ID, k.CreatedAt); err != nil {
			return err
		}
		return t.record(ev)
	})
}

// SweepGrants implements grant.Store.
func (db *DB) SweepGrants(ctx context.Context, before time.Time, l grant.Lifetimes) error {
	if err := db.update(ctx, func(t *tx) error {
		if _, err := t.exec("DELETE FROM codes WHERE expires_at < $1", millis(before)); err != nil {
			return fmt.Errorf("sweep codes: %w", err)
		}
		return nil
	}); err != nil {
		return err
	}
	// Three kinds: a consent whose code was never redeemed gives nothing any
	// more, neither does what has ended, or is idle.
	text, args := "(redeemed_at = 0 AND created_at < $1 OR ended_at > 0 AND ended_at < $1", []any{millis(before)}
	if l.Idle > 0 {
		text, args = text+" OR redeemed_at > 0 AND last_used_at < $2", append(args, millis(before.Add(-l.Idle)))
	}
	text += ")"
	ids, err := query(ctx, db.read, scanText, "SELECT id FROM grants WHERE "+text+" LIMIT "+strconv.Itoa(maxSwept), args...)
	if err != nil {
		return fmt.Errorf("look for grants to sweep: %w", err)
	}
	return db.inSlices(ctx, ids, "DELETE FROM grants WHERE "+text, args, func(*tx, int, int64) error { return nil })
}
