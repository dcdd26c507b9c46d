package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

// SetRole implements org.Store.
func (db *DB) SetRole(ctx context.Context, r org.Role, ev audit.Event) error {
	permissions, err := json.Marshal(append([]org.Permission{}, r.Permissions...))
	if err != nil {
		return fmt.Errorf("encode permissions: %w", err)
	}
	hidden, err := json.Marshal(append([]string{}, r.HiddenFields...))
	if err != nil {
		return fmt.Errorf("encode hidden fields: %w", err)
	}
	var scope string
	if r.DataScope != nil {
		scope = r.DataScope.String()
	}
	return db.update(ctx, func(t *tx) error {
		// A name means one thing: of the organization, or in each team its own.
		taken := "SELECT count(*) FROM organization_roles WHERE name = $1"
		if r.Team == "" {
			taken = "SELECT count(*) FROM roles WHERE name = $1"
		}
		var n int
		if err := t.QueryRow(taken, r.Name).Scan(&n); err != nil {
			return fmt.Errorf("look for a role of that name: %w", err)
		}
		if n > 0 {
			return org.ErrRoleNameTaken
		}
		if r.Team == "" {
			_, err = t.exec(`INSERT INTO organization_roles (name, permissions, data_scope, hidden_fields, look_back) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (name) DO UPDATE SET permissions = excluded.permissions, data_scope = excluded.data_scope,
					hidden_fields = excluded.hidden_fields, look_back = excluded.look_back`,
				r.Name, string(permissions), scope, string(hidden), r.LookBack.Milliseconds())
		} else {
			_, err = t.exec(`INSERT INTO roles (team_id, name, permissions, data_scope, hidden_fields, look_back) VALUES ($1, $2, $3, $4, $5, $6)
				ON CONFLICT (team_id, name) DO UPDATE SET permissions = excluded.permissions, data_scope = excluded.data_scope,
					hidden_fields = excluded.hidden_fields, look_back = excluded.look_back`,
				string(r.Team), r.Name, string(permissions), scope, string(hidden), r.LookBack.Milliseconds())
		}
		if err != nil {
			return fmt.Errorf("set role: %w", err)
		}
		return t.roleChanged(r.Team, ev)
	})
}

func (t *tx) roleChanged(team org.TeamID, ev audit.Event) error {
	id := string(team)
	if id == "" {
		id = access.AnyTeam
	}
	if err := t.change(access.RoleChanged, id, ev.At); err != nil {
		return err
	}
	return t.record(ev)
}

// RemoveRole implements org.Store.
func (db *DB) RemoveRole(ctx context.Context, team org.TeamID, name string, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		held, err := query(t.ctx, t, func(rows *sql.Rows) (names []string, err error) {
			var roles string
			if err := rows.Scan(&roles); err != nil {
				return nil, err
			}
			return names, json.Unmarshal([]byte(roles), &names)
		}, `SELECT roles FROM members WHERE $1 = '' OR team_id = $1
			UNION ALL SELECT roles FROM group_roles WHERE $1 = '' OR team_id = $1`, string(team))
		if err != nil {
			return err
		}
		if slices.ContainsFunc(held, func(names []string) bool { return slices.Contains(names, name) }) {
			return org.ErrRoleInUse
		}
		var n int64
		if team == "" {
			n, err = t.exec("DELETE FROM organization_roles WHERE name = $1", name)
		} else {
			n, err = t.exec("DELETE FROM roles WHERE team_id = $1 AND name = $2", string(team), name)
		}
		if err != nil {
			return fmt.Errorf("remove role: %w", err)
		}
		if n == 0 {
			return org.ErrRoleNotFound
		}
		return t.roleChanged(team, ev)
	})
}

// customRoles is the statement that lists the custom roles that a team has.
const customRoles = `SELECT '' AS team_id, name, permissions, data_scope, hidden_fields, look_back FROM organization_roles
	UNION ALL SELECT team_id, name, permissions, data_scope, hidden_fields, look_back FROM roles WHERE team_id = $1
	ORDER BY team_id, name`

// scanRole reads a row of customRoles. A limit that cannot be parsed is an
// error, never a role without it: it would show more than it should.
func scanRole(rows *sql.Rows) (org.Role, error) {
	var (
		r                          org.Role
		permissions, scope, hidden string
		lookBack                   int64
	)
	if err := rows.Scan(&r.Team, &r.Name, &permissions, &scope, &hidden, &lookBack); err != nil {
		return r, err
	}
	if err := json.Unmarshal([]byte(permissions), &r.Permissions); err != nil {
		return r, fmt.Errorf("permissions of role %s: %w", r.Name, err)
	}
	if err := json.Unmarshal([]byte(hidden), &r.HiddenFields); err != nil {
		return r, fmt.Errorf("hidden fields of role %s: %w", r.Name, err)
	}
	r.LookBack = time.Duration(lookBack) * time.Millisecond
	if scope != "" {
		f, err := telemetry.ParseFilter(scope)
		if err != nil {
			return r, fmt.Errorf("data scope of role %s: %w", r.Name, err)
		}
		r.DataScope = f
	}
	return r, nil
}

// CustomRoles implements org.Store.
func (db *DB) CustomRoles(ctx context.Context, team org.TeamID) ([]org.Role, error) {
	return query(ctx, db.read, scanRole, customRoles, string(team))
}
