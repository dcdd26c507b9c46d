package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/login/sso"
	"github.com/orielhq/oriel/internal/org"
)

var _ sso.Store = (*DB)(nil)

const providerColumns = `identity_providers.id, identity_providers.slug, identity_providers.name, identity_providers.kind,
	identity_providers.settings, identity_providers.sealed, identity_providers.enabled, identity_providers.created_at`

type providerRow struct {
	p        sso.Provider
	settings string
	created  int64
}

func (r *providerRow) fields() []any {
	return []any{&r.p.ID, &r.p.Slug, &r.p.Name, &r.p.Kind, &r.settings, &r.p.Sealed, &r.p.Enabled, &r.created}
}

func (r *providerRow) provider() (sso.Provider, error) {
	r.p.CreatedAt = fromMillis(r.created)
	if err := json.Unmarshal([]byte(r.settings), &r.p.Settings); err != nil {
		return r.p, fmt.Errorf("settings of %s: %w", r.p.Slug, err)
	}
	return r.p, nil
}

// CreateProvider implements sso.Store.
func (db *DB) CreateProvider(ctx context.Context, p sso.Provider, ev audit.Event) error {
	settings, err := json.Marshal(p.Settings)
	if err != nil {
		return fmt.Errorf("encode settings: %w", err)
	}
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec("INSERT INTO identity_providers (id, slug, name, kind, settings, sealed, enabled, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
			string(p.ID), p.Slug, p.Name, string(p.Kind), string(settings), p.Sealed, p.Enabled, millis(p.CreatedAt))
		if isUnique(err) {
			return sso.ErrSlugTaken
		}
		if err != nil {
			return fmt.Errorf("insert provider: %w", err)
		}
		for _, d := range p.Domains {
			if err := t.insertDomain(p.ID, d.Name); err != nil {
				return err
			}
		}
		return t.record(ev)
	})
}

func (t *tx) insertDomain(id sso.ID, domain string) error {
	_, err := t.exec("INSERT INTO provider_domains (domain, provider_id, sso_only) VALUES ($1, $2, FALSE)", domain, string(id))
	if isUnique(err) {
		return fmt.Errorf("%s: %w", domain, sso.ErrDomainTaken)
	}
	if err != nil {
		return fmt.Errorf("insert domain: %w", err)
	}
	return nil
}

// UpdateProvider implements sso.Store.
func (db *DB) UpdateProvider(ctx context.Context, p sso.Provider, ev audit.Event) error {
	settings, err := json.Marshal(p.Settings)
	if err != nil {
		return fmt.Errorf("encode settings: %w", err)
	}
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec("UPDATE identity_providers SET name = $1, settings = $2, sealed = $3 WHERE id = $4", p.Name, string(settings), p.Sealed, string(p.ID))
		if err != nil {
			return fmt.Errorf("update provider: %w", err)
		}
		if n == 0 {
			return sso.ErrNotFound
		}
		return t.record(ev)
	})
}

func (db *DB) providers(ctx context.Context, where string, args ...any) ([]sso.Provider, error) {
	all, err := query(ctx, db.read, func(rows *sql.Rows) (sso.Provider, error) {
		var r providerRow
		if err := rows.Scan(r.fields()...); err != nil {
			return r.p, err
		}
		return r.provider()
	}, "SELECT "+providerColumns+" FROM identity_providers "+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read providers: %w", err)
	}
	for i := range all {
		p := &all[i]
		p.Domains, err = query(ctx, db.read, func(rows *sql.Rows) (sso.Domain, error) {
			var d sso.Domain
			return d, rows.Scan(&d.Name, &d.SSOOnly)
		}, "SELECT domain, sso_only FROM provider_domains WHERE provider_id = $1 ORDER BY domain", string(p.ID))
		if err != nil {
			return nil, fmt.Errorf("read domains: %w", err)
		}
		p.Rules, err = query(ctx, db.read, func(rows *sql.Rows) (sso.Rule, error) {
			var r sso.Rule
			return r, rows.Scan(&r.Group, &r.TeamID, &r.Team, &r.Role)
		}, `SELECT provider_groups.group_name, teams.id, teams.slug, provider_groups.role FROM provider_groups JOIN teams ON teams.id = provider_groups.team_id
			WHERE provider_groups.provider_id = $1 ORDER BY provider_groups.group_name, teams.slug, provider_groups.role`, string(p.ID))
		if err != nil {
			return nil, fmt.Errorf("read mapping: %w", err)
		}
	}
	return all, nil
}

// Provider implements sso.Store.
func (db *DB) Provider(ctx context.Context, slug string) (sso.Provider, error) {
	all, err := db.providers(ctx, "WHERE slug = $1", slug)
	if err != nil {
		return sso.Provider{}, err
	}
	if len(all) == 0 {
		return sso.Provider{}, sso.ErrNotFound
	}
	return all[0], nil
}

// Providers implements sso.Store.
func (db *DB) Providers(ctx context.Context) ([]sso.Provider, error) {
	return db.providers(ctx, "ORDER BY name, slug")
}

// SetProviderEnabled implements sso.Store.
func (db *DB) SetProviderEnabled(ctx context.Context, id sso.ID, enabled bool, reason string, ev audit.Event) (ended sso.Ended, err error) {
	err = db.update(ctx, func(t *tx) error {
		ended = sso.Ended{}
		n, err := t.exec("UPDATE identity_providers SET enabled = $1 WHERE id = $2", enabled, string(id))
		if err != nil {
			return fmt.Errorf("switch provider: %w", err)
		}
		if n == 0 {
			return sso.ErrNotFound
		}
		if !enabled {
			if ended, err = t.endSignIns(ctx, sso.SignIns{Provider: id, All: true}, reason, ev.At); err != nil {
				return err
			}
			copied := ev
			copied.Detail = endedDetail(ev.Detail, ended)
			return t.record(copied)
		}
		return t.record(ev)
	})
	return ended, err
}

func endedDetail(detail string, e sso.Ended) string {
	return fmt.Sprintf("%s; %d sessions and %d connections ended", detail, e.Sessions, e.Connections)
}

// RemoveProvider implements sso.Store.
func (db *DB) RemoveProvider(ctx context.Context, id sso.ID, reason string, ev audit.Event) (ended sso.Ended, err error) {
	err = db.update(ctx, func(t *tx) error {
		var err error
		if ended, err = t.endSignIns(ctx, sso.SignIns{Provider: id, All: true}, reason, ev.At); err != nil {
			return err
		}
		given, err := query(ctx, t, func(rows *sql.Rows) (givenRole, error) {
			var g givenRole
			return g, rows.Scan(&g.person, &g.Team, &g.Role)
		}, "SELECT person_id, team_id, role FROM given_roles WHERE provider_id = $1", string(id))
		if err != nil {
			return fmt.Errorf("read given roles: %w", err)
		}
		for _, g := range given {
			if err := t.takeRole(ctx, g, ev.At); err != nil {
				return err
			}
		}
		n, err := t.exec("DELETE FROM identity_providers WHERE id = $1", string(id))
		if err != nil {
			return fmt.Errorf("remove provider: %w", err)
		}
		if n == 0 {
			return sso.ErrNotFound
		}
		copied := ev
		copied.Detail = endedDetail(ev.Detail, ended)
		return t.record(copied)
	})
	return ended, err
}

type givenRole struct {
	person org.PersonID
	sso.TeamRole
}

// takeRole takes one role from a member.
func (t *tx) takeRole(ctx context.Context, g givenRole, at time.Time) error {
	var (
		text  string
		roles []string
	)
	err := t.QueryRowContext(ctx, "SELECT roles FROM members WHERE team_id = $1 AND person_id = $2", string(g.Team), string(g.person)).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &roles)
	}
	if err != nil {
		return fmt.Errorf("read roles: %w", err)
	}
	kept := slices.DeleteFunc(roles, func(r string) bool { return r == g.Role })
	return t.putMember(g.Team, g.person, kept, at)
}

// putMember gives somebody exactly these roles; with none they leave the
// team, and their grants there end.
func (t *tx) putMember(team org.TeamID, person org.PersonID, roles []string, at time.Time) error {
	if len(roles) == 0 {
		if _, err := t.exec("DELETE FROM members WHERE team_id = $1 AND person_id = $2", string(team), string(person)); err != nil {
			return fmt.Errorf("remove member: %w", err)
		}
		// A group may still give them a role there.
		return t.membershipChanged(at, person)
	}
	list, err := json.Marshal(roles)
	if err != nil {
		return fmt.Errorf("encode roles: %w", err)
	}
	if _, err := t.exec(`INSERT INTO members (team_id, person_id, roles) VALUES ($1, $2, $3)
		ON CONFLICT (team_id, person_id) DO UPDATE SET roles = excluded.roles`, string(team), string(person), string(list)); err != nil {
		return fmt.Errorf("set member: %w", err)
	}
	return t.change(access.MemberChanged, string(person), at)
}

// SetDomain implements sso.Store.
func (db *DB) SetDomain(ctx context.Context, id sso.ID, domain string, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		if err := t.insertDomain(id, domain); err != nil {
			return err
		}
		return t.record(ev)
	})
}

// passwordSessions are the browser sessions of a domain's people that came
// from a password, but for those of break-glass owners. The domain is a suffix
// compared as it is: it may hold no wildcard.
const passwordSessions = `person_id IN (SELECT id FROM people WHERE NOT break_glass AND substr(email, length(email) - length($1) + 1) = $1)
	AND hash NOT IN (SELECT session_hash FROM provider_sign_ins)`

// SetSSOOnly implements sso.Store.
func (db *DB) SetSSOOnly(ctx context.Context, domain string, only bool, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec("UPDATE provider_domains SET sso_only = $1 WHERE domain = $2", only, domain)
		if err != nil {
			return fmt.Errorf("set domain: %w", err)
		}
		if n == 0 {
			return sso.ErrDomainNotFound
		}
		if !only {
			return t.record(ev)
		}
		var owners int
		if err := t.QueryRow("SELECT count(*) FROM people WHERE break_glass AND owner AND disabled_at = 0 AND password_hash <> ''").Scan(&owners); err != nil {
			return fmt.Errorf("count break-glass owners: %w", err)
		}
		if owners == 0 {
			return sso.ErrNoBreakGlass
		}
		sessions, err := t.exec("DELETE FROM sessions WHERE "+passwordSessions, "@"+domain)
		if err != nil {
			return fmt.Errorf("end sessions: %w", err)
		}
		copied := ev
		copied.Detail = fmt.Sprintf("%d sessions ended", sessions)
		return t.record(copied)
	})
}

// AddRule implements sso.Store.
func (db *DB) AddRule(ctx context.Context, id sso.ID, r sso.Rule, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec("INSERT INTO provider_groups (provider_id, group_name, team_id, role) VALUES ($1, $2, $3, $4)", string(id), r.Group, string(r.TeamID), r.Role)
		if isUnique(err) {
			return sso.ErrRuleExists
		}
		if err != nil {
			return fmt.Errorf("insert mapping: %w", err)
		}
		return t.record(ev)
	})
}

// RemoveRule implements sso.Store.
func (db *DB) RemoveRule(ctx context.Context, id sso.ID, r sso.Rule, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec("DELETE FROM provider_groups WHERE provider_id = $1 AND group_name = $2 AND team_id = $3 AND role = $4", string(id), r.Group, string(r.TeamID), r.Role)
		if err != nil {
			return fmt.Errorf("delete mapping: %w", err)
		}
		if n == 0 {
			return sso.ErrRuleNotFound
		}
		return t.record(ev)
	})
}

// SetBreakGlass implements sso.Store.
func (db *DB) SetBreakGlass(ctx context.Context, id org.PersonID, may bool, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		if !may {
			if err := t.spareLastBreakGlass(id); err != nil {
				return err
			}
		}
		n, err := t.exec("UPDATE people SET break_glass = $1 WHERE id = $2", may, string(id))
		if err != nil {
			return fmt.Errorf("set break glass: %w", err)
		}
		if n == 0 {
			return org.ErrPersonNotFound
		}
		return t.record(ev)
	})
}

// BreakGlass implements sso.Store.
func (db *DB) BreakGlass(ctx context.Context) ([]org.Person, error) {
	return query(ctx, db.read, func(rows *sql.Rows) (org.Person, error) {
		var r personRow
		err := rows.Scan(r.fields()...)
		return r.person(), err
	}, "SELECT "+personColumns+" FROM people WHERE break_glass ORDER BY email")
}

// PasswordRefused implements sso.Store.
func (db *DB) PasswordRefused(ctx context.Context, domain, email string) (bool, error) {
	var only, glass bool
	err := db.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM provider_domains WHERE domain = $1 AND sso_only),
		EXISTS (SELECT 1 FROM people WHERE email = $2 AND break_glass AND owner)`, domain, email).Scan(&only, &glass)
	if err != nil {
		return true, fmt.Errorf("read sign-in policy: %w", err)
	}
	return only && !glass, nil
}

// Unlink implements sso.Store.
func (db *DB) Unlink(ctx context.Context, id sso.ID, person org.PersonID, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec("DELETE FROM linked_identities WHERE provider_id = $1 AND person_id = $2", string(id), string(person))
		if err != nil {
			return fmt.Errorf("unlink: %w", err)
		}
		if n == 0 {
			return sso.ErrLinkNotFound
		}
		return t.record(ev)
	})
}

// Arrive implements sso.Store.
func (db *DB) Arrive(ctx context.Context, a sso.Arrival, decide func(sso.Found) (sso.Outcome, error)) (person org.Person, err error) {
	err = db.update(ctx, func(t *tx) error {
		f, err := t.found(ctx, a)
		if err != nil {
			return err
		}
		o, err := decide(f)
		if err != nil {
			return err
		}
		person = o.Person
		return t.store(a, o)
	})
	return person, err
}

func (t *tx) found(ctx context.Context, a sso.Arrival) (sso.Found, error) {
	var f sso.Found
	one := func(from, where string, args ...any) (*org.Person, error) {
		all, err := query(ctx, t, func(rows *sql.Rows) (org.Person, error) {
			var r personRow
			err := rows.Scan(r.fields()...)
			return r.person(), err
		}, "SELECT "+personColumns+" FROM "+from+" WHERE "+where, args...)
		if err != nil || len(all) == 0 {
			return nil, err
		}
		return &all[0], nil
	}
	var err error
	if f.Linked, err = one("linked_identities JOIN people ON people.id = linked_identities.person_id",
		"linked_identities.provider_id = $1 AND linked_identities.subject = $2", string(a.Provider.ID), a.Subject); err != nil {
		return f, fmt.Errorf("look for the link: %w", err)
	}
	who := f.Linked
	if who == nil && a.Email != "" {
		if f.ByEmail, err = one("people", "people.email = $1", a.Email); err != nil {
			return f, fmt.Errorf("look for the address: %w", err)
		}
		who = f.ByEmail
	}
	if who == nil {
		return f, nil
	}
	if err := t.QueryRow("SELECT EXISTS (SELECT 1 FROM linked_identities WHERE provider_id = $1 AND person_id = $2 AND subject <> $3)",
		string(a.Provider.ID), string(who.ID), a.Subject).Scan(&f.Elsewhere); err != nil {
		return f, fmt.Errorf("look for other links: %w", err)
	}
	if f.Given, err = query(ctx, t, func(rows *sql.Rows) (sso.TeamRole, error) {
		var g sso.TeamRole
		return g, rows.Scan(&g.Team, &g.Slug, &g.Role)
	}, `SELECT teams.id, teams.slug, given_roles.role FROM given_roles JOIN teams ON teams.id = given_roles.team_id
		WHERE given_roles.provider_id = $1 AND given_roles.person_id = $2`, string(a.Provider.ID), string(who.ID)); err != nil {
		return f, fmt.Errorf("read given roles: %w", err)
	}
	f.Members, err = query(ctx, t, func(rows *sql.Rows) (org.Member, error) {
		var (
			team  teamRow
			roles string
			m     org.Member
		)
		if err := rows.Scan(append(team.fields(), &roles)...); err != nil {
			return m, err
		}
		m.Team = team.team()
		return m, json.Unmarshal([]byte(roles), &m.Roles)
	}, "SELECT "+teamColumns+", members.roles FROM members JOIN teams ON teams.id = members.team_id WHERE members.person_id = $1", string(who.ID))
	if err != nil {
		return f, fmt.Errorf("read memberships: %w", err)
	}
	return f, nil
}

func (t *tx) store(a sso.Arrival, o sso.Outcome) error {
	id := string(o.Person.ID)
	if o.Create {
		ev := audit.Event{At: a.At, Actor: audit.System(), Kind: audit.PersonCreated, Target: id, Detail: o.Person.Email + ", who came from " + a.Provider.Slug}
		if err := t.insertPerson(o.Person, "", ev); err != nil {
			return err
		}
	}
	if o.Link {
		if _, err := t.exec("INSERT INTO linked_identities (provider_id, subject, person_id, created_at) VALUES ($1, $2, $3, $4)",
			string(a.Provider.ID), a.Subject, id, millis(a.At)); err != nil {
			return fmt.Errorf("link: %w", err)
		}
	}
	for _, g := range o.Take {
		if _, err := t.exec("DELETE FROM given_roles WHERE provider_id = $1 AND person_id = $2 AND team_id = $3 AND role = $4",
			string(a.Provider.ID), id, string(g.Team), g.Role); err != nil {
			return fmt.Errorf("take a given role: %w", err)
		}
	}
	for _, g := range o.Give {
		if _, err := t.exec("INSERT INTO given_roles (provider_id, person_id, team_id, role) VALUES ($1, $2, $3, $4)",
			string(a.Provider.ID), id, string(g.Team), g.Role); err != nil {
			return fmt.Errorf("note a given role: %w", err)
		}
	}
	for _, m := range o.Set {
		if err := t.putMember(m.Team.ID, o.Person.ID, m.Roles, a.At); err != nil {
			return err
		}
	}
	return t.record(o.Events...)
}

// forgetGiven makes what an administrator sets by hand theirs: no mapping
// takes it again.
func (t *tx) forgetGiven(team org.TeamID, person org.PersonID) error {
	if _, err := t.exec("DELETE FROM given_roles WHERE team_id = $1 AND person_id = $2", string(team), string(person)); err != nil {
		return fmt.Errorf("forget given roles: %w", err)
	}
	return nil
}

func (t *tx) useToken(hash string, expires, now time.Time) error {
	if _, err := t.exec("DELETE FROM used_provider_tokens WHERE expires_at < $1", millis(now)); err != nil {
		return fmt.Errorf("sweep used tokens: %w", err)
	}
	_, err := t.exec("INSERT INTO used_provider_tokens (hash, expires_at) VALUES ($1, $2)", hash, millis(expires))
	if isUnique(err) {
		return sso.ErrTokenUsed
	}
	if err != nil {
		return fmt.Errorf("note token: %w", err)
	}
	return nil
}

// UseToken implements sso.Store.
func (db *DB) UseToken(ctx context.Context, hash string, expires, now time.Time) error {
	return db.update(ctx, func(t *tx) error { return t.useToken(hash, expires, now) })
}

// EndSignIns implements sso.Store.
func (db *DB) EndSignIns(ctx context.Context, which sso.SignIns, reason, hash string, expires time.Time, ev audit.Event) (ended sso.Ended, err error) {
	err = db.update(ctx, func(t *tx) error {
		if hash != "" {
			if err := t.useToken(hash, expires, ev.At); err != nil {
				return err
			}
		}
		var err error
		if ended, err = t.endSignIns(ctx, which, reason, ev.At); err != nil {
			return err
		}
		copied := ev
		copied.Detail = endedDetail(ev.Detail, ended)
		return t.record(copied)
	})
	return ended, err
}

// endSignIns ends sessions, and the grants that were made from the same
// sign-ins: those of the person with its moment.
func (t *tx) endSignIns(ctx context.Context, which sso.SignIns, reason string, at time.Time) (sso.Ended, error) {
	var ended sso.Ended
	where, args := []string{"provider_id = $1"}, []any{string(which.Provider)}
	if which.Subject != "" {
		args = append(args, which.Subject)
		where = append(where, fmt.Sprintf("subject = $%d", len(args)))
	}
	if len(which.SessionIDs) > 0 {
		var in []string
		for _, id := range which.SessionIDs {
			args = append(args, id)
			in = append(in, fmt.Sprintf("$%d", len(args)))
		}
		where = append(where, "sid IN ("+strings.Join(in, ", ")+")")
	}
	if len(args) == 1 && !which.All {
		return ended, nil
	}
	type signIn struct {
		hash, person string
		at           int64
	}
	all, err := query(ctx, t, func(rows *sql.Rows) (signIn, error) {
		var s signIn
		return s, rows.Scan(&s.hash, &s.person, &s.at)
	}, "SELECT session_hash, person_id, auth_time FROM provider_sign_ins WHERE "+strings.Join(where, " AND "), args...)
	if err != nil {
		return ended, fmt.Errorf("read sign-ins: %w", err)
	}
	people := make(map[string]bool)
	for _, s := range all {
		sessions, err := t.exec("DELETE FROM sessions WHERE hash = $1", s.hash)
		if err != nil {
			return ended, fmt.Errorf("end session: %w", err)
		}
		grants, err := t.exec("UPDATE grants SET ended_at = $1, end_reason = $2 WHERE person_id = $3 AND auth_time = $4 AND ended_at = 0",
			millis(at), reason, s.person, s.at)
		if err != nil {
			return ended, fmt.Errorf("end grants: %w", err)
		}
		if _, err := t.exec("DELETE FROM provider_sign_ins WHERE session_hash = $1", s.hash); err != nil {
			return ended, fmt.Errorf("forget sign-in: %w", err)
		}
		ended.Sessions += int(sessions)
		ended.Connections += int(grants)
		people[s.person] = true
	}
	for person := range people {
		if err := t.change(access.PersonChanged, person, at); err != nil {
			return ended, err
		}
	}
	return ended, nil
}

// insertSignIn notes where a session came from.
func (t *tx) insertSignIn(s login.SessionState) error {
	u := s.Upstream
	if _, err := t.exec(`INSERT INTO provider_sign_ins (session_hash, provider_id, subject, sid, person_id, auth_time, created_at, id_token,
			name_format, name_qualifier, sp_name_qualifier)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		s.Hash, u.Provider, u.Subject, u.SessionID, string(s.Person), millis(s.AuthTime), millis(s.CreatedAt), append([]byte{}, u.SealedIDToken...),
		u.NameFormat, u.NameQualifier, u.SPNameQualifier); err != nil {
		return fmt.Errorf("note sign-in: %w", err)
	}
	return nil
}

// SignInOf implements sso.Store.
func (db *DB) SignInOf(ctx context.Context, sessionHash string) (sso.SignIn, error) {
	var (
		s    sso.SignIn
		slug string
		u    = &s.Upstream
	)
	err := db.read.QueryRowContext(ctx, `SELECT identity_providers.slug, provider_sign_ins.person_id, provider_sign_ins.id_token, provider_sign_ins.subject, provider_sign_ins.sid,
			provider_sign_ins.name_format, provider_sign_ins.name_qualifier, provider_sign_ins.sp_name_qualifier
		FROM provider_sign_ins JOIN identity_providers ON identity_providers.id = provider_sign_ins.provider_id
		WHERE provider_sign_ins.session_hash = $1`, sessionHash).Scan(&slug, &s.Person, &u.SealedIDToken, &u.Subject, &u.SessionID,
		&u.NameFormat, &u.NameQualifier, &u.SPNameQualifier)
	if errors.Is(err, sql.ErrNoRows) {
		return sso.SignIn{}, sso.ErrNotFound
	}
	if err != nil {
		return sso.SignIn{}, fmt.Errorf("read sign-in: %w", err)
	}
	s.Provider, err = db.Provider(ctx, slug)
	u.Provider = string(s.Provider.ID)
	return s, err
}

// CountSignIns implements sso.Store.
func (db *DB) CountSignIns(ctx context.Context, id sso.ID) (sso.Ended, error) {
	var e sso.Ended
	err := db.read.QueryRowContext(ctx, `SELECT
		(SELECT count(*) FROM sessions JOIN provider_sign_ins ON provider_sign_ins.session_hash = sessions.hash WHERE provider_sign_ins.provider_id = $1),
		(SELECT count(*) FROM grants WHERE ended_at = 0 AND EXISTS (SELECT 1 FROM provider_sign_ins
			WHERE provider_sign_ins.provider_id = $1 AND provider_sign_ins.person_id = grants.person_id AND provider_sign_ins.auth_time = grants.auth_time))`,
		string(id)).Scan(&e.Sessions, &e.Connections)
	if err != nil {
		return e, fmt.Errorf("count sign-ins: %w", err)
	}
	return e, nil
}

// SweepSignIns implements sso.Store.
func (db *DB) SweepSignIns(ctx context.Context, before time.Time) error {
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec(`DELETE FROM provider_sign_ins WHERE created_at < $1
			AND NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.hash = provider_sign_ins.session_hash)
			AND NOT EXISTS (SELECT 1 FROM grants WHERE grants.person_id = provider_sign_ins.person_id
				AND grants.auth_time = provider_sign_ins.auth_time AND grants.ended_at = 0)`, millis(before))
		if err != nil {
			return fmt.Errorf("sweep sign-ins: %w", err)
		}
		return nil
	})
}
