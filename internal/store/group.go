package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
)

const groupColumns = "people_groups.id, people_groups.name, people_groups.external_id, people_groups.version, people_groups.created_at, people_groups.changed_at"

type groupRow struct {
	g                org.Group
	created, changed int64
}

func (r *groupRow) fields() []any {
	return []any{&r.g.ID, &r.g.Name, &r.g.ExternalID, &r.g.Version, &r.created, &r.changed}
}

func (r *groupRow) group() org.Group {
	r.g.CreatedAt, r.g.ChangedAt = fromMillis(r.created), fromMillis(r.changed)
	return r.g
}

func scanGroup(rows *sql.Rows) (org.Group, error) {
	var r groupRow
	err := rows.Scan(r.fields()...)
	return r.group(), err
}

// CreateGroup implements org.GroupStore.
func (db *DB) CreateGroup(ctx context.Context, g org.Group, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		if err := t.groupNameFree(g); err != nil {
			return err
		}
		if _, err := t.exec("INSERT INTO people_groups (id, name, external_id, version, created_at, changed_at) VALUES ($1, $2, $3, $4, $5, $6)",
			string(g.ID), g.Name, g.ExternalID, g.Version, millis(g.CreatedAt), millis(g.ChangedAt)); err != nil {
			return fmt.Errorf("insert group: %w", err)
		}
		return t.record(ev)
	})
}

// groupNameFree looks whether another group has g's name or external id.
func (t *tx) groupNameFree(g org.Group) error {
	var name, external int
	err := t.QueryRow(`SELECT COALESCE(SUM(CASE WHEN name = $1 THEN 1 ELSE 0 END), 0),
			COALESCE(SUM(CASE WHEN external_id = $2 AND external_id <> '' THEN 1 ELSE 0 END), 0)
		FROM people_groups WHERE id <> $3 AND (name = $1 OR external_id = $2)`, g.Name, g.ExternalID, string(g.ID)).Scan(&name, &external)
	switch {
	case err != nil:
		return fmt.Errorf("look for a group of that name: %w", err)
	case name > 0:
		return org.ErrGroupNameTaken
	case external > 0:
		return org.ErrExternalIDTaken
	}
	return nil
}

// UpdateGroup implements org.GroupStore.
func (db *DB) UpdateGroup(ctx context.Context, g org.Group, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		if err := t.groupNameFree(g); err != nil {
			return err
		}
		if _, err := t.exec("UPDATE people_groups SET name = $1, external_id = $2 WHERE id = $3", g.Name, g.ExternalID, string(g.ID)); err != nil {
			return fmt.Errorf("update group: %w", err)
		}
		if err := t.touchGroup(g.ID, ev.At); err != nil {
			return err
		}
		return t.record(ev)
	})
}

// touchGroup counts a change of a group.
func (t *tx) touchGroup(id org.GroupID, at time.Time) error {
	n, err := t.exec("UPDATE people_groups SET version = version + 1, changed_at = $1 WHERE id = $2", millis(at), string(id))
	if err != nil {
		return fmt.Errorf("update group: %w", err)
	}
	if n == 0 {
		return org.ErrGroupNotFound
	}
	return nil
}

// RemoveGroup implements org.GroupStore.
func (db *DB) RemoveGroup(ctx context.Context, id org.GroupID, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		people, err := t.peopleInGroup(id)
		if err != nil {
			return err
		}
		n, err := t.exec("DELETE FROM people_groups WHERE id = $1", string(id))
		if err != nil {
			return fmt.Errorf("delete group: %w", err)
		}
		if n == 0 {
			return org.ErrGroupNotFound
		}
		if err := t.membershipChanged(ev.At, people...); err != nil {
			return err
		}
		return t.record(ev)
	})
}

func (t *tx) peopleInGroup(id org.GroupID) ([]org.PersonID, error) {
	return query(t.ctx, t, func(rows *sql.Rows) (org.PersonID, error) {
		var p org.PersonID
		err := rows.Scan(&p)
		return p, err
	}, "SELECT person_id FROM group_members WHERE group_id = $1", string(id))
}

// membershipChanged tells the gates about people whose roles may have changed
// and ends the grants of teams that they are no longer in.
func (t *tx) membershipChanged(at time.Time, people ...org.PersonID) error {
	for _, p := range people {
		if _, err := t.exec(`UPDATE grants SET ended_at = $1, end_reason = $2 WHERE person_id = $3 AND ended_at = 0
				AND NOT EXISTS (SELECT 1 FROM members WHERE members.person_id = grants.person_id AND members.team_id = grants.team_id)
				AND NOT EXISTS (SELECT 1 FROM group_members JOIN group_roles ON group_roles.group_id = group_members.group_id
					WHERE group_members.person_id = grants.person_id AND group_roles.team_id = grants.team_id)`,
			millis(at), "taken out of the team", string(p)); err != nil {
			return fmt.Errorf("end grants: %w", err)
		}
		if err := t.change(access.MemberChanged, string(p), at); err != nil {
			return err
		}
	}
	return nil
}

// GroupByID implements org.GroupStore.
func (db *DB) GroupByID(ctx context.Context, id org.GroupID) (org.Group, error) {
	var r groupRow
	err := db.read.QueryRowContext(ctx, "SELECT "+groupColumns+" FROM people_groups WHERE id = $1", string(id)).Scan(r.fields()...)
	if errors.Is(err, sql.ErrNoRows) {
		return org.Group{}, org.ErrGroupNotFound
	}
	if err != nil {
		return org.Group{}, fmt.Errorf("read group: %w", err)
	}
	return r.group(), nil
}

// Groups implements org.GroupStore.
func (db *DB) Groups(ctx context.Context) ([]org.Group, error) {
	return query(ctx, db.read, scanGroup, "SELECT "+groupColumns+" FROM people_groups ORDER BY name")
}

// GroupMembers implements org.GroupStore.
func (db *DB) GroupMembers(ctx context.Context, id org.GroupID) ([]org.Person, error) {
	return query(ctx, db.read, func(rows *sql.Rows) (org.Person, error) {
		var r personRow
		err := rows.Scan(r.fields()...)
		return r.person(), err
	}, "SELECT "+personColumns+" FROM group_members JOIN people ON people.id = group_members.person_id WHERE group_members.group_id = $1 ORDER BY people.email", string(id))
}

// GroupsOf implements org.GroupStore.
func (db *DB) GroupsOf(ctx context.Context, person org.PersonID) ([]org.Group, error) {
	return query(ctx, db.read, scanGroup, "SELECT "+groupColumns+` FROM group_members JOIN people_groups ON people_groups.id = group_members.group_id
		WHERE group_members.person_id = $1 ORDER BY people_groups.name`, string(person))
}

// ChangeGroupMembers implements org.GroupStore.
func (db *DB) ChangeGroupMembers(ctx context.Context, id org.GroupID, c org.MemberChange, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		if err := t.touchGroup(id, ev.At); err != nil {
			return err
		}
		there, err := t.peopleInGroup(id)
		if err != nil {
			return err
		}
		remove := c.Remove
		if c.Replace {
			remove = there
		}
		var changed []org.PersonID
		for _, p := range remove {
			if !slices.Contains(there, p) || slices.Contains(c.Add, p) {
				continue
			}
			if _, err := t.exec("DELETE FROM group_members WHERE group_id = $1 AND person_id = $2", string(id), string(p)); err != nil {
				return fmt.Errorf("remove group member: %w", err)
			}
			changed = append(changed, p)
		}
		for _, p := range c.Add {
			if slices.Contains(there, p) || slices.Contains(changed, p) {
				continue
			}
			n, err := t.exec("INSERT INTO group_members (group_id, person_id) SELECT $1, id FROM people WHERE id = $2", string(id), string(p))
			if err != nil {
				return fmt.Errorf("add group member: %w", err)
			}
			if n == 0 {
				return org.ErrPersonNotFound
			}
			changed = append(changed, p)
		}
		if err := t.membershipChanged(ev.At, changed...); err != nil {
			return err
		}
		return t.record(ev)
	})
}

// SetGroupRoles implements org.GroupStore.
func (db *DB) SetGroupRoles(ctx context.Context, id org.GroupID, team org.TeamID, roles []string, ev audit.Event) error {
	list, err := json.Marshal(roles)
	if err != nil {
		return fmt.Errorf("encode roles: %w", err)
	}
	return db.update(ctx, func(t *tx) error {
		if err := t.touchGroup(id, ev.At); err != nil {
			return err
		}
		if len(roles) == 0 {
			_, err = t.exec("DELETE FROM group_roles WHERE group_id = $1 AND team_id = $2", string(id), string(team))
		} else {
			_, err = t.exec(`INSERT INTO group_roles (group_id, team_id, roles) VALUES ($1, $2, $3)
				ON CONFLICT (group_id, team_id) DO UPDATE SET roles = excluded.roles`, string(id), string(team), string(list))
		}
		if err != nil {
			return fmt.Errorf("set group roles: %w", err)
		}
		people, err := t.peopleInGroup(id)
		if err != nil {
			return err
		}
		if err := t.membershipChanged(ev.At, people...); err != nil {
			return err
		}
		return t.record(ev)
	})
}

// AllGroupRoles implements org.GroupStore.
func (db *DB) AllGroupRoles(ctx context.Context) ([]org.GroupRoles, error) {
	return query(ctx, db.read, func(rows *sql.Rows) (org.GroupRoles, error) {
		var (
			g     groupRow
			t     teamRow
			roles string
			out   org.GroupRoles
		)
		if err := rows.Scan(slices.Concat(g.fields(), t.fields(), []any{&roles})...); err != nil {
			return out, err
		}
		out.Group, out.Team = g.group(), t.team()
		return out, json.Unmarshal([]byte(roles), &out.Roles)
	}, "SELECT "+groupColumns+", "+teamColumns+`, group_roles.roles FROM group_roles
		JOIN people_groups ON people_groups.id = group_roles.group_id
		JOIN teams ON teams.id = group_roles.team_id
		ORDER BY people_groups.name, teams.name, teams.slug`)
}

// The statements that list who is in which team, one row for each way in: the
// direct one, whose group is ”, and each group.
const (
	eachWayIn = `SELECT members.team_id, members.person_id, members.roles, '' AS group_id FROM members
		UNION ALL SELECT group_roles.team_id, group_members.person_id, group_roles.roles, group_roles.group_id
		FROM group_roles JOIN group_members ON group_members.group_id = group_roles.group_id`
	selectMembers = "SELECT " + personColumns + ", " + teamColumns + `, ways.roles, ways.group_id,
			COALESCE((SELECT people_groups.name FROM people_groups WHERE people_groups.id = ways.group_id), '') AS group_name
		FROM (` + eachWayIn + `) AS ways
		JOIN people ON people.id = ways.person_id
		JOIN teams ON teams.id = ways.team_id `
	membersOfTeam       = selectMembers + "WHERE ways.team_id = $1 ORDER BY people.email, group_name"
	membershipsOfPerson = selectMembers + "WHERE ways.person_id = $1 ORDER BY teams.name, teams.slug, group_name"
)

// members reads one of the statements above. The rows of one person in one
// team follow each other, the direct way in first.
func (db *DB) members(ctx context.Context, text, arg string) ([]org.Member, error) {
	var out []org.Member
	_, err := query(ctx, db.read, func(rows *sql.Rows) (struct{}, error) {
		var (
			p     personRow
			t     teamRow
			g     org.Group
			roles string
			names []string
			none  struct{}
		)
		if err := rows.Scan(slices.Concat(p.fields(), t.fields(), []any{&roles, &g.ID, &g.Name})...); err != nil {
			return none, err
		}
		if err := json.Unmarshal([]byte(roles), &names); err != nil {
			return none, fmt.Errorf("roles of %s: %w", p.p.ID, err)
		}
		if last := len(out) - 1; last < 0 || out[last].Person.ID != p.p.ID || out[last].Team.ID != t.t.ID {
			out = append(out, org.Member{Person: p.person(), Team: t.team()})
		}
		m := &out[len(out)-1]
		if g.ID == "" {
			m.AddDirect(names)
		} else {
			m.AddThrough(org.GroupRoles{Group: g, Team: m.Team, Roles: names})
		}
		return none, nil
	}, text, arg)
	return out, err
}

// rolesThroughGroups returns what groups give a person in a team.
func rolesThroughGroups(ctx context.Context, q querier, person org.PersonID, team org.TeamID) ([]string, error) {
	lists, err := query(ctx, q, func(rows *sql.Rows) (names []string, err error) {
		var roles string
		if err := rows.Scan(&roles); err != nil {
			return nil, err
		}
		return names, json.Unmarshal([]byte(roles), &names)
	}, `SELECT group_roles.roles FROM group_members JOIN group_roles ON group_roles.group_id = group_members.group_id
		WHERE group_members.person_id = $1 AND group_roles.team_id = $2 ORDER BY group_roles.group_id`, string(person), string(team))
	return slices.Concat(lists...), err
}
