package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/scim"
)

// scimTokenTouch is how old the note of a token's last use may be.
const scimTokenTouch = time.Minute

// AddSCIMToken implements scim.TokenStore.
func (db *DB) AddSCIMToken(ctx context.Context, k scim.Token, hash string, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec(`INSERT INTO scim_tokens (id, name, hash, created_at, last_used_at, revoked_at)
			SELECT $1, $2, $3, $4, 0, 0 WHERE NOT EXISTS (SELECT 1 FROM scim_tokens WHERE name = $2 AND revoked_at = 0)`,
			k.ID, k.Name, hash, millis(k.CreatedAt))
		if err != nil {
			return fmt.Errorf("insert provisioning token: %w", err)
		}
		if n == 0 {
			return scim.ErrTokenNameTaken
		}
		return t.record(ev)
	})
}

// SCIMTokens implements scim.TokenStore.
func (db *DB) SCIMTokens(ctx context.Context) ([]scim.Token, error) {
	return query(ctx, db.read, func(rows *sql.Rows) (scim.Token, error) {
		var (
			k                      scim.Token
			created, used, revoked int64
		)
		err := rows.Scan(&k.ID, &k.Name, &created, &used, &revoked)
		k.CreatedAt, k.LastUsedAt, k.RevokedAt = fromMillis(created), fromMillis(used), fromMillis(revoked)
		return k, err
	}, "SELECT id, name, created_at, last_used_at, revoked_at FROM scim_tokens ORDER BY created_at, id")
}

// RevokeSCIMToken implements scim.TokenStore.
func (db *DB) RevokeSCIMToken(ctx context.Context, id string, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec("UPDATE scim_tokens SET revoked_at = $1 WHERE id = $2 AND revoked_at = 0", millis(ev.At), id)
		if err != nil {
			return fmt.Errorf("revoke provisioning token: %w", err)
		}
		if n == 0 {
			return scim.ErrTokenUnknown
		}
		return t.record(ev)
	})
}

// UseSCIMToken implements scim.TokenStore.
func (db *DB) UseSCIMToken(ctx context.Context, hash string, now time.Time) (scim.Token, error) {
	var (
		k    scim.Token
		used int64
	)
	err := db.read.QueryRowContext(ctx, "SELECT id, name, last_used_at FROM scim_tokens WHERE hash = $1 AND revoked_at = 0", hash).
		Scan(&k.ID, &k.Name, &used)
	if errors.Is(err, sql.ErrNoRows) {
		return k, scim.ErrTokenUnknown
	}
	if err != nil {
		return k, fmt.Errorf("read provisioning token: %w", err)
	}
	k.LastUsedAt = fromMillis(used)
	if now.Sub(k.LastUsedAt) < scimTokenTouch {
		return k, nil
	}
	err = db.update(ctx, func(t *tx) error {
		_, err := t.apart(t.ctx, "UPDATE scim_tokens SET last_used_at = $1 WHERE id = $2", millis(now), k.ID)
		return err
	})
	if err != nil {
		return k, fmt.Errorf("note the use of a provisioning token: %w", err)
	}
	return k, nil
}

const selectUsers = "SELECT " + personColumns + `, COALESCE(scim_users.user_name, people.email), COALESCE(scim_users.external_id, ''),
	COALESCE(scim_users.given_name, ''), COALESCE(scim_users.family_name, ''), COALESCE(scim_users.modified_at, people.created_at)
	FROM people LEFT JOIN scim_users ON scim_users.person_id = people.id
	WHERE NOT people.service AND people.email NOT LIKE '` + deletedPrefix + `%'`

// deletedPrefix stands before the id of somebody whose account was deleted.
const deletedPrefix = org.DeletedAddress

func scanUser(rows *sql.Rows) (scim.User, error) {
	var (
		p        personRow
		u        scim.User
		modified int64
	)
	if err := rows.Scan(append(p.fields(), &u.UserName, &u.ExternalID, &u.GivenName, &u.FamilyName, &modified)...); err != nil {
		return u, err
	}
	q := p.person()
	u.ID, u.Email, u.Name, u.Active, u.Created, u.Modified = q.ID, q.Email, q.Name, q.Active(), q.CreatedAt, fromMillis(modified)
	return u, nil
}

func (db *DB) usersWhere(ctx context.Context, q querier, where string, args ...any) ([]scim.User, error) {
	users, err := query(ctx, q, scanUser, selectUsers+where+" ORDER BY people.created_at, people.id", args...)
	if err != nil {
		return nil, fmt.Errorf("read users: %w", err)
	}
	return users, nil
}

// SCIMUsers implements scim.Store.
func (db *DB) SCIMUsers(ctx context.Context) ([]scim.User, error) {
	return db.usersWhere(ctx, db.read, "")
}

// GroupsOfAll implements scim.Store.
func (db *DB) GroupsOfAll(ctx context.Context) (map[org.PersonID][]org.Group, error) {
	type membership struct {
		person org.PersonID
		groupRow
	}
	all, err := query(ctx, db.read, func(rows *sql.Rows) (membership, error) {
		var m membership
		return m, rows.Scan(append([]any{&m.person}, m.fields()...)...)
	}, "SELECT group_members.person_id, "+groupColumns+` FROM group_members JOIN people_groups ON people_groups.id = group_members.group_id
		ORDER BY people_groups.name`)
	if err != nil {
		return nil, fmt.Errorf("read group members: %w", err)
	}
	out := make(map[org.PersonID][]org.Group)
	for _, m := range all {
		out[m.person] = append(out[m.person], m.group())
	}
	return out, nil
}

// SCIMUser implements scim.Store.
func (db *DB) SCIMUser(ctx context.Context, by scim.UserKey, value string) (scim.User, error) {
	return db.scimUser(ctx, db.read, by, value)
}

func (db *DB) scimUser(ctx context.Context, q querier, by scim.UserKey, value string) (scim.User, error) {
	where := map[scim.UserKey]string{
		scim.ByID: "people.id = $1",
		// A person without a row is called by their address.
		scim.ByUserName:   "(scim_users.user_name_key = $1 OR scim_users.person_id IS NULL AND people.email = $1)",
		scim.ByExternalID: "scim_users.external_id = $1 AND scim_users.external_id <> ''",
	}[by]
	if by == scim.ByUserName {
		value = strings.ToLower(value)
	}
	users, err := db.usersWhere(ctx, q, " AND "+where, value)
	if err != nil {
		return scim.User{}, err
	}
	if len(users) == 0 {
		return scim.User{}, scim.ErrNotFound
	}
	return users[0], nil
}

// saveUser stores what providers call a person.
func (t *tx) saveUser(u scim.User) error {
	var n int
	// Somebody made by hand is called by their address, without a row.
	err := t.QueryRow(`SELECT count(*) FROM people LEFT JOIN scim_users ON scim_users.person_id = people.id
		WHERE people.email = $1 AND scim_users.person_id IS NULL AND people.id <> $2`, strings.ToLower(u.UserName), string(u.ID)).Scan(&n)
	if err != nil {
		return fmt.Errorf("look for the user's name: %w", err)
	}
	if n > 0 {
		return scim.ErrTaken
	}
	_, err = t.exec(`INSERT INTO scim_users (person_id, user_name, user_name_key, external_id, given_name, family_name, modified_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (person_id) DO UPDATE SET user_name = excluded.user_name,
			user_name_key = excluded.user_name_key, external_id = excluded.external_id, given_name = excluded.given_name,
			family_name = excluded.family_name, modified_at = excluded.modified_at`,
		string(u.ID), u.UserName, strings.ToLower(u.UserName), u.ExternalID, u.GivenName, u.FamilyName, millis(u.Modified))
	if isUnique(err) {
		return scim.ErrTaken
	}
	if err != nil {
		return fmt.Errorf("store user: %w", err)
	}
	return nil
}

// CreateSCIMUser implements scim.Store.
func (db *DB) CreateSCIMUser(ctx context.Context, u scim.User, ev audit.Event) (scim.User, error) {
	p := org.Person{ID: u.ID, Email: u.Email, Name: u.Name, CreatedAt: u.Created}
	if !u.Active {
		p.DisabledAt = u.Created
	}
	err := db.update(ctx, func(t *tx) error {
		err := t.insertPerson(p, "", ev)
		if errors.Is(err, org.ErrEmailTaken) {
			return scim.ErrTaken
		}
		if err != nil {
			return err
		}
		return t.saveUser(u)
	})
	return u, err
}

// ChangeSCIMUser implements scim.Store.
func (db *DB) ChangeSCIMUser(ctx context.Context, id org.PersonID, change func(*scim.User) ([]audit.Event, error)) (scim.User, error) {
	var u scim.User
	err := db.update(ctx, func(t *tx) error {
		before, err := db.scimUser(t.ctx, t, scim.ByID, string(id))
		if err != nil {
			return err
		}
		u = before
		events, err := change(&u)
		if err != nil {
			return err
		}
		if before.Active && !u.Active {
			err := t.spareLastOwner(id)
			if errors.Is(err, org.ErrLastOwner) || errors.Is(err, org.ErrLastBreakGlass) {
				return scim.ErrLastOwner
			}
			if err != nil {
				return err
			}
		}
		if u.Deleted {
			if err := t.deletePerson(id, u.Modified); err != nil {
				return err
			}
			return t.record(events...)
		}
		_, err = t.exec("UPDATE people SET email = $1, name = $2 WHERE id = $3", u.Email, u.Name, string(id))
		if isUnique(err) {
			return scim.ErrTaken
		}
		if err != nil {
			return fmt.Errorf("update person: %w", err)
		}
		if before.Active != u.Active {
			if err := t.setDisabled(id, !u.Active, u.Modified, "the account was disabled by the identity provider"); err != nil {
				return err
			}
		}
		if err := t.saveUser(u); err != nil {
			return err
		}
		if err := t.change(access.PersonChanged, string(id), u.Modified); err != nil {
			return err
		}
		return t.record(events...)
	})
	return u, err
}

// spareLastOwner refuses where nobody else is left who owns the organization.
func (t *tx) spareLastOwner(id org.PersonID) error {
	var last bool
	err := t.QueryRow(`SELECT owner AND NOT EXISTS (SELECT 1 FROM people AS other WHERE other.owner AND other.disabled_at = 0 AND other.id <> people.id)
		FROM people WHERE id = $1`, string(id)).Scan(&last)
	if err != nil {
		return fmt.Errorf("look for another owner: %w", err)
	}
	if last {
		return org.ErrLastOwner
	}
	return t.spareLastBreakGlass(id)
}

// spareLastBreakGlass refuses where nobody else is left who could sign in
// without an identity provider, and somebody has to be.
func (t *tx) spareLastBreakGlass(id org.PersonID) error {
	const able = "break_glass AND owner AND disabled_at = 0 AND password_hash <> ''"
	var last bool
	err := t.QueryRow(`SELECT EXISTS (SELECT 1 FROM provider_domains WHERE sso_only)
		AND EXISTS (SELECT 1 FROM people WHERE id = $1 AND `+able+`)
		AND NOT EXISTS (SELECT 1 FROM people WHERE id <> $1 AND `+able+`)`, string(id)).Scan(&last)
	if err != nil {
		return fmt.Errorf("look for another break-glass owner: %w", err)
	}
	if last {
		return org.ErrLastBreakGlass
	}
	return nil
}

// deletePerson takes away an account: everything that could be used, and the
// address, which somebody else may have. The row itself stays, because the
// audit names it.
func (t *tx) deletePerson(id org.PersonID, at time.Time) error {
	if err := t.setDisabled(id, true, at, "the account was deleted"); err != nil {
		return err
	}
	for _, text := range []string{
		"UPDATE people SET email = '" + deletedPrefix + "' || id, password_hash = '', owner = FALSE WHERE id = $1",
		"DELETE FROM members WHERE person_id = $1",
		"DELETE FROM group_members WHERE person_id = $1",
		"DELETE FROM scim_users WHERE person_id = $1",
		"DELETE FROM factors WHERE person_id = $1",
		"DELETE FROM recovery_codes WHERE person_id = $1",
		"DELETE FROM linked_identities WHERE person_id = $1",
		"DELETE FROM given_roles WHERE person_id = $1",
		"DELETE FROM provider_sign_ins WHERE person_id = $1",
	} {
		if _, err := t.exec(text, string(id)); err != nil {
			return fmt.Errorf("delete person: %w", err)
		}
	}
	return t.change(access.PersonChanged, string(id), at)
}
