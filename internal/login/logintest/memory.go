// Package logintest keeps people, teams and browser sessions in memory, for
// tests of the pages only.
package logintest

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

// Memory implements login.Store and what the pages use of org.Store; calling
// anything else panics. It is safe for concurrent use.
type Memory struct {
	org.Store

	mu       sync.Mutex // guards all below
	people   []org.Person
	hashes   map[org.PersonID]string
	teams    []org.Team
	members  []member
	sessions map[string]login.SessionState
	setup    string
	setupEnd time.Time
	events   []audit.Event
}

type member struct {
	team   org.TeamID
	person org.PersonID
	roles  []string
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{hashes: make(map[org.PersonID]string), sessions: make(map[string]login.SessionState)}
}

// Events returns what was recorded so far.
func (m *Memory) Events() []audit.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.events)
}

// Sessions returns the number of sessions.
func (m *Memory) Sessions() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.sessions)
}

// CreatePerson is documented at org.Store, as are all below of that kind.
func (m *Memory) CreatePerson(_ context.Context, p org.Person, hash string, ev audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.ContainsFunc(m.people, func(o org.Person) bool { return o.Email == p.Email }) {
		return org.ErrEmailTaken
	}
	m.people = append(m.people, p)
	m.hashes[p.ID] = hash
	m.events = append(m.events, ev)
	return nil
}

// CreateFirstOwner is documented at org.Store.
func (m *Memory) CreateFirstOwner(ctx context.Context, p org.Person, hash string, ev audit.Event) error {
	if has, _ := m.HasOwner(ctx); has {
		return org.ErrOwnerExists
	}
	return m.CreatePerson(ctx, p, hash, ev)
}

// HasOwner is documented at org.Store.
func (m *Memory) HasOwner(context.Context) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.people, func(p org.Person) bool { return p.Owner }), nil
}

func (m *Memory) personLocked(is func(org.Person) bool) (*org.Person, error) {
	if i := slices.IndexFunc(m.people, is); i >= 0 {
		return &m.people[i], nil
	}
	return nil, org.ErrPersonNotFound
}

// PersonByEmail is documented at org.Store.
func (m *Memory) PersonByEmail(_ context.Context, email string) (org.Person, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, err := m.personLocked(func(p org.Person) bool { return p.Email == email })
	if err != nil {
		return org.Person{}, err
	}
	return *p, nil
}

// People is documented at org.Store.
func (m *Memory) People(context.Context) ([]org.Person, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(slices.Values(m.people), func(a, b org.Person) int { return cmp.Compare(a.Email, b.Email) }), nil
}

// SetDisabled is documented at org.Store.
func (m *Memory) SetDisabled(_ context.Context, id org.PersonID, at time.Time, ev audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, err := m.personLocked(func(p org.Person) bool { return p.ID == id })
	if err != nil {
		return err
	}
	p.DisabledAt = at
	m.events = append(m.events, ev)
	return nil
}

// PasswordHash is documented at org.Store.
func (m *Memory) PasswordHash(_ context.Context, id org.PersonID) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.hashes[id], nil
}

// SetPasswordHash is documented at org.Store.
func (m *Memory) SetPasswordHash(_ context.Context, id org.PersonID, hash string, ev audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hashes[id] = hash
	m.events = append(m.events, ev)
	return nil
}

// CreateTeam is documented at org.Store.
func (m *Memory) CreateTeam(_ context.Context, t org.Team, ev audit.Event) (org.Team, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.ContainsFunc(m.teams, func(o org.Team) bool { return o.Slug == t.Slug }) {
		return org.Team{}, org.ErrSlugTaken
	}
	t.Tenant = telemetry.TenantID(len(m.teams) + 1)
	m.teams = append(m.teams, t)
	m.events = append(m.events, ev)
	return t, nil
}

// TeamBySlug is documented at org.Store.
func (m *Memory) TeamBySlug(_ context.Context, slug string) (org.Team, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := slices.IndexFunc(m.teams, func(t org.Team) bool { return t.Slug == slug }); i >= 0 {
		return m.teams[i], nil
	}
	return org.Team{}, org.ErrTeamNotFound
}

// SetMember is documented at org.Store.
func (m *Memory) SetMember(_ context.Context, team org.TeamID, person org.PersonID, roles []string, ev audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.members = slices.DeleteFunc(m.members, func(o member) bool { return o.team == team && o.person == person })
	m.members = append(m.members, member{team, person, roles})
	m.events = append(m.events, ev)
	return nil
}

// RemoveMember is documented at org.Store.
func (m *Memory) RemoveMember(_ context.Context, team org.TeamID, person org.PersonID, ev audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.members)
	m.members = slices.DeleteFunc(m.members, func(o member) bool { return o.team == team && o.person == person })
	if len(m.members) == n {
		return org.ErrNotMember
	}
	m.events = append(m.events, ev)
	return nil
}

// Memberships is documented at org.Store.
func (m *Memory) Memberships(_ context.Context, person org.PersonID) ([]org.Member, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []org.Member
	for _, o := range m.members {
		if o.person != person {
			continue
		}
		p, _ := m.personLocked(func(p org.Person) bool { return p.ID == person })
		i := slices.IndexFunc(m.teams, func(t org.Team) bool { return t.ID == o.team })
		out = append(out, org.Member{Person: *p, Team: m.teams[i], Roles: o.roles})
	}
	slices.SortFunc(out, func(a, b org.Member) int { return cmp.Compare(a.Team.Name, b.Team.Name) })
	return out, nil
}

// CustomRoles is documented at org.Store.
func (m *Memory) CustomRoles(context.Context, org.TeamID) ([]org.Role, error) { return nil, nil }

// CreateSession is documented at login.Store, as are all below.
func (m *Memory) CreateSession(_ context.Context, s login.SessionState, replaces string, ev audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sessions, replaces)
	m.sessions[s.Hash] = s
	m.events = append(m.events, ev)
	return nil
}

// SessionByHash is documented at login.Store.
func (m *Memory) SessionByHash(_ context.Context, hash string) (login.SessionState, org.Person, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.sessions[hash]
	if !ok {
		return login.SessionState{}, org.Person{}, login.ErrNoSession
	}
	p, err := m.personLocked(func(p org.Person) bool { return p.ID == s.Person })
	if err != nil {
		return login.SessionState{}, org.Person{}, login.ErrNoSession
	}
	return s, *p, nil
}

// TouchSession is documented at login.Store.
func (m *Memory) TouchSession(_ context.Context, hash string, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.sessions[hash]; ok {
		s.LastUsed = at
		m.sessions[hash] = s
	}
	return nil
}

// EndSession is documented at login.Store.
func (m *Memory) EndSession(_ context.Context, hash string, ev audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.sessions[hash]; !ok {
		return login.ErrNoSession
	}
	delete(m.sessions, hash)
	m.events = append(m.events, ev)
	return nil
}

// SweepSessions is documented at login.Store.
func (m *Memory) SweepSessions(_ context.Context, idle, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for hash, s := range m.sessions {
		if s.LastUsed.Before(idle) || s.ExpiresAt.Before(now) {
			delete(m.sessions, hash)
		}
	}
	return nil
}

// RecordEvent is documented at login.Store.
func (m *Memory) RecordEvent(_ context.Context, ev audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, ev)
	return nil
}

// SetSetupToken is documented at login.Store.
func (m *Memory) SetSetupToken(_ context.Context, hash string, expiresAt time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setup, m.setupEnd = hash, expiresAt
	return nil
}

// SetupToken is documented at login.Store.
func (m *Memory) SetupToken(context.Context) (hash string, expiresAt time.Time, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.setup == "" {
		return "", time.Time{}, login.ErrNoSetupToken
	}
	return m.setup, m.setupEnd, nil
}

// DropSetupToken is documented at login.Store.
func (m *Memory) DropSetupToken(context.Context) error {
	return m.SetSetupToken(context.Background(), "", time.Time{})
}
