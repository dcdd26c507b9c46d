package access

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
)

const (
	// pollInterval is how often the feed is asked for changes that another
	// process made; changes of this process are known at once.
	pollInterval = 100 * time.Millisecond
	// maxVerified bounds the remembered signatures: 100,000 tokens are about
	// 40 MB.
	maxVerified = 100_000
	// maxStandings bounds the grants kept in memory.
	maxStandings = 100_000
	// maxKeys bounds the remembered ingest keys, unknown ones included, so
	// that junk costs one query each at the most.
	maxKeys = 10_000
	// maxLoadAttempts bounds how often a standing is read again because
	// something changed while it was being read.
	maxLoadAttempts = 3
)

// Config is what a Gate needs.
type Config struct {
	Source Source
	Keys   *grant.Keyring
	Issuer string
	Now    func() time.Time
	// Lifetimes are those of the grants.
	Lifetimes grant.Lifetimes
	// StaleAfter is how long the gate decides without having heard from the
	// store; 0 means 5 seconds.
	StaleAfter time.Duration
	Logger     *slog.Logger
}

// Gate decides about calls. It is safe for concurrent use; Run must be
// running for it to stay current.
type Gate struct {
	Config

	// applied is the newest sequence number whose change has been applied.
	applied atomic.Int64
	// confirmed is when the feed was last known to be read to its end, on
	// the monotonic clock: it must not depend on the clock that tests turn.
	confirmed atomic.Pointer[time.Time]

	// applying orders readers of the feed.
	applying sync.Mutex

	mu sync.RWMutex // guards all below
	// epoch counts applied changes; a standing read before a change is not
	// kept after it. withdrawals does the same for signing keys and tokens.
	epoch, withdrawals uint64
	verified           map[[sha256.Size]byte]verifiedToken
	standings          map[grant.ID]*grant.Standing
	keys               map[string]org.KeyUse // hash of the key; tenant 0 for a key that does not work
	watches            map[*watch]struct{}
}

type verifiedToken struct {
	claims  grant.Claims
	scopes  spec.Scopes
	expires time.Time
}

// watch is an open request or stream.
type watch struct {
	grant   grant.ID
	expires time.Time
	end     context.CancelCauseFunc
}

// NewGate returns a gate that knows the store's present state.
func NewGate(ctx context.Context, c Config) (*Gate, error) {
	if c.Source == nil || c.Keys == nil || c.Issuer == "" || c.Now == nil || c.Logger == nil {
		return nil, errors.New("access: Config needs Source, Keys, Issuer, Now and Logger")
	}
	if c.StaleAfter == 0 {
		c.StaleAfter = 5 * time.Second
	}
	g := &Gate{
		Config:    c,
		verified:  make(map[[sha256.Size]byte]verifiedToken),
		standings: make(map[grant.ID]*grant.Standing),
		keys:      make(map[string]org.KeyUse),
		watches:   make(map[*watch]struct{}),
	}
	start := time.Now()
	_, newest, err := c.Source.ChangesAfter(ctx, -1)
	if err != nil {
		return nil, fmt.Errorf("read the change feed: %w", err)
	}
	g.applied.Store(newest)
	g.confirmed.Store(&start)
	return g, nil
}

// Run follows the change feed until ctx is done, and ends watched requests
// whose grant or hour is over.
func (g *Gate) Run(ctx context.Context) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.Source.Committed():
		case <-tick.C:
		}
		if err := g.catchUp(ctx); err != nil && ctx.Err() == nil {
			g.Logger.WarnContext(ctx, "change feed unreadable", "err", err, "since", time.Since(*g.confirmed.Load()).String())
		}
		g.endExpired()
	}
}

// Current returns nil while the gate is sure to know of every change.
func (g *Gate) Current() error {
	if since := time.Since(*g.confirmed.Load()); since > g.StaleAfter {
		return fmt.Errorf("%w: nothing heard from the store for %s", ErrNotCurrent, since.Truncate(time.Millisecond))
	}
	return nil
}

// Check says who is calling with an access token at a resource. Errors:
// *RefusedError, ErrNotCurrent; any other is our own fault.
//
// For a token seen before, on a grant seen before, it makes no query.
func (g *Gate) Check(ctx context.Context, token grant.AccessToken, at spec.Resource) (*Caller, error) {
	c, audience, err := g.check(ctx, token)
	if err != nil {
		return nil, err
	}
	// RFC 8707 §2 and RFC 9068 §4: a token for one resource opens no other.
	if audience != at.URL() || c.standing.Grant.Resource != at.URL() {
		return nil, &RefusedError{Reason: "the access token is for another resource"}
	}
	if slug := at.TeamSlug(); slug != "" && c.standing.Team.Slug != slug {
		return nil, &RefusedError{Reason: "the access token is for another team"}
	}
	return c, nil
}

// CheckAny is Check for endpoints of the authorization server itself, which
// any of its tokens opens. Errors are those of Check.
func (g *Gate) CheckAny(ctx context.Context, token grant.AccessToken) (*Caller, error) {
	c, _, err := g.check(ctx, token)
	return c, err
}

// check does all of Check but for the resource.
func (g *Gate) check(ctx context.Context, token grant.AccessToken) (c *Caller, audience string, err error) {
	v, err := g.verify(token)
	if err != nil {
		return nil, "", err
	}
	now := g.Now()
	// No leeway: the hour is the hour, and the clock that issued the token is
	// the one that checks it.
	if !now.Before(v.expires) {
		return nil, "", &RefusedError{Reason: "the access token has expired"}
	}
	if v.claims.IssuedAt > now.Add(clockLeeway).Unix() {
		return nil, "", &RefusedError{Reason: "the access token is not valid yet"}
	}
	if err := g.keepUp(ctx); err != nil {
		return nil, "", err
	}
	s, err := g.standing(ctx, v.claims.Grant)
	if errors.Is(err, grant.ErrNotFound) {
		return nil, "", &RefusedError{Reason: "the grant does not exist"}
	}
	if err != nil {
		return nil, "", fmt.Errorf("read standing of grant %s: %w", v.claims.Grant, err)
	}
	if err := s.Verdict(now, g.Lifetimes); err != nil {
		return nil, "", &RefusedError{Reason: err.Error()}
	}
	return &Caller{standing: s, scopes: v.scopes, expires: v.expires, claims: v.claims, lifetimes: g.Lifetimes.Under(s.Policy)}, v.claims.Audience, nil
}

// Standing returns a grant with all that its life depends on, as it is now,
// from memory where it can. The caller must not change it. Errors:
// ErrNotCurrent, grant.ErrNotFound; any other is our own fault.
func (g *Gate) Standing(ctx context.Context, id grant.ID) (*grant.Standing, error) {
	if err := g.keepUp(ctx); err != nil {
		return nil, err
	}
	return g.standing(ctx, id)
}

// Epoch returns a number that is another one after every change to anything
// that decisions rest on: what was read from the store after Epoch returned a
// number is as it is now while Epoch returns the same. It makes no query.
// Errors: ErrNotCurrent.
func (g *Gate) Epoch(ctx context.Context) (uint64, error) {
	if err := g.keepUp(ctx); err != nil {
		return 0, err
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.epoch, nil
}

// clockLeeway tolerates replicas whose clocks differ a little.
const clockLeeway = time.Minute

// keepUp applies changes that this process has committed and not applied yet,
// and refuses to go on from a state that may be old.
func (g *Gate) keepUp(ctx context.Context) error {
	if g.Source.Head() > g.applied.Load() {
		if err := g.catchUp(ctx); err != nil {
			return fmt.Errorf("%w: %w", ErrNotCurrent, err)
		}
	}
	return g.Current()
}

// verify checks a token's signature, or remembers that it did.
func (g *Gate) verify(token grant.AccessToken) (verifiedToken, error) {
	key := sha256.Sum256([]byte(token))
	g.mu.RLock()
	v, ok := g.verified[key]
	withdrawals := g.withdrawals
	g.mu.RUnlock()
	if ok {
		return v, nil
	}
	claims, err := g.Keys.VerifyAccess(token, g.Issuer)
	if err != nil {
		return verifiedToken{}, &RefusedError{Reason: "the access token is malformed or not from here", cause: err}
	}
	v = verifiedToken{claims: claims, scopes: spec.ParseScopes(claims.Scope), expires: time.Unix(claims.ExpiresAt, 0)}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.withdrawals != withdrawals {
		return v, nil // its key may be gone by now: not kept
	}
	if len(g.verified) >= maxVerified {
		g.forgetVerifiedLocked()
	}
	g.verified[key] = v
	return v, nil
}

// forgetVerifiedLocked drops expired tokens, and where that is not enough a
// few arbitrary ones: they cost a signature check when they come again.
func (g *Gate) forgetVerifiedLocked() {
	now := g.Now()
	for k, v := range g.verified {
		if !now.Before(v.expires) {
			delete(g.verified, k)
		}
	}
	for k := range g.verified {
		if len(g.verified) < maxVerified*9/10 {
			return
		}
		delete(g.verified, k)
	}
}

// standing returns a grant's standing from memory, or reads and keeps it.
func (g *Gate) standing(ctx context.Context, id grant.ID) (*grant.Standing, error) {
	g.mu.RLock()
	s, ok := g.standings[id]
	g.mu.RUnlock()
	if ok {
		return s, nil
	}
	for attempt := 1; ; attempt++ {
		g.mu.RLock()
		epoch := g.epoch
		g.mu.RUnlock()
		s, err := g.Source.Standing(ctx, id)
		if err != nil {
			return nil, err
		}
		if g.keep(s, epoch) || attempt == maxLoadAttempts {
			// After the last attempt the standing is as fresh as any query
			// can be, only not kept.
			return s, nil
		}
	}
}

// keep remembers a standing unless something changed since epoch.
func (g *Gate) keep(s *grant.Standing, epoch uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.epoch != epoch {
		return false
	}
	if len(g.standings) >= maxStandings {
		for id := range g.standings {
			if delete(g.standings, id); len(g.standings) < maxStandings*9/10 {
				break
			}
		}
	}
	g.standings[s.Grant.ID] = s
	return true
}

// CheckKey returns where an ingest key writes to and what it may. Errors:
// ErrKeyUnknown, ErrNotCurrent; any other is our own fault.
func (g *Gate) CheckKey(ctx context.Context, key org.KeySecret) (org.KeyUse, error) {
	if !key.WellFormed() {
		return org.KeyUse{}, ErrKeyUnknown
	}
	if err := g.keepUp(ctx); err != nil {
		return org.KeyUse{}, err
	}
	hash := key.Hash()
	g.mu.RLock()
	use, ok := g.keys[hash]
	epoch := g.epoch
	g.mu.RUnlock()
	if !ok {
		var err error
		use, err = g.Source.KeyUse(ctx, hash)
		if err != nil && !errors.Is(err, org.ErrKeyNotFound) {
			return org.KeyUse{}, fmt.Errorf("look up ingest key: %w", err)
		}
		g.mu.Lock()
		if g.epoch == epoch {
			if len(g.keys) >= maxKeys {
				clear(g.keys)
			}
			g.keys[hash] = use
		}
		g.mu.Unlock()
	}
	if use.Tenant == 0 {
		return org.KeyUse{}, ErrKeyUnknown
	}
	return use, nil
}

// ErrStreamOver is the cause with which a watched context ends.
var ErrStreamOver = errors.New("the connection's hour or its grant is over")

// Watch returns a context that ends when the caller's grant dies or its token
// expires, for requests and streams that outlive their first check. stop must
// be called when the request is over.
func (g *Gate) Watch(ctx context.Context, c *Caller) (watched context.Context, stop func()) {
	watched, cancel := context.WithCancelCause(ctx)
	w := &watch{grant: c.Grant(), expires: c.Expires(), end: cancel}
	g.mu.Lock()
	g.watches[w] = struct{}{}
	g.mu.Unlock()
	return watched, func() {
		g.mu.Lock()
		delete(g.watches, w)
		g.mu.Unlock()
		cancel(context.Canceled)
	}
}

// endExpired ends the watched requests whose token has expired.
func (g *Gate) endExpired() {
	now := g.Now()
	g.mu.RLock()
	defer g.mu.RUnlock()
	for w := range g.watches {
		if !now.Before(w.expires) {
			w.end(ErrStreamOver)
		}
	}
}

// catchUp applies what is new in the feed and ends the watched requests whose
// grants died of it.
func (g *Gate) catchUp(ctx context.Context) error {
	g.applying.Lock()
	defer g.applying.Unlock()
	start := time.Now()
	changes, newest, err := g.Source.ChangesAfter(ctx, g.applied.Load())
	if err != nil {
		return fmt.Errorf("read the change feed: %w", err)
	}
	if slices.ContainsFunc(changes, func(c Change) bool { return c.Kind == SigningKeyChanged }) {
		if err := g.Keys.Reload(ctx); err != nil {
			return fmt.Errorf("apply a new signing key: %w", err)
		}
	}
	if slices.ContainsFunc(changes, func(c Change) bool { return c.Kind == SigningKeyChanged && !g.Keys.Published(c.ID) }) {
		g.forgetTokens()
	}
	touched := g.forget(changes)
	g.applied.Store(newest)
	g.confirmed.Store(&start)
	for w := range touched {
		s, err := g.standing(ctx, w.grant)
		if err == nil {
			err = s.Verdict(g.Now(), g.Lifetimes)
		}
		if err != nil {
			w.end(ErrStreamOver)
		}
	}
	return nil
}

// forgetTokens drops every token that is remembered as verified and ends every
// watched request: a signing key was withdrawn, and which of them it signed is
// not remembered. The good ones come again.
func (g *Gate) forgetTokens() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.withdrawals++
	clear(g.verified)
	for w := range g.watches {
		w.end(ErrStreamOver)
	}
}

// forget drops every standing and key that a change may have altered and
// returns the watches on them.
func (g *Gate) forget(changes []Change) map[*watch]struct{} {
	if len(changes) == 0 {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.epoch++
	dropped := make(map[grant.ID]bool)
	// A group may change the standing of thousands at once: the standings are
	// looked through once, not once for each change.
	broad := make(map[Change]bool)
	for _, c := range changes {
		switch c.Kind {
		case GrantChanged:
			dropped[grant.ID(c.ID)] = true
		case KeyChanged:
			delete(g.keys, c.ID)
		case SigningKeyChanged:
			// No standing depends on it; catchUp has the keyring read again.
		case EverythingChanged:
			clear(g.keys)
			broad[Change{Kind: c.Kind}] = true
		default:
			broad[Change{Kind: c.Kind, ID: c.ID}] = true
		}
	}
	if len(broad) > 0 {
		all := slices.ContainsFunc(changes, Change.concernsAll)
		for id, s := range g.standings {
			if all || concerned(s, broad) {
				dropped[id] = true
			}
		}
	}
	touched := make(map[*watch]struct{})
	for id := range dropped {
		delete(g.standings, id)
	}
	for w := range g.watches {
		if _, known := g.standings[w.grant]; !known {
			touched[w] = struct{}{}
		}
	}
	return touched
}

// concernsAll says whether a change may alter every standing.
func (c Change) concernsAll() bool {
	switch c.Kind {
	case PersonChanged, MemberChanged, GrantChanged, KeyChanged, SigningKeyChanged:
		return false
	case RoleChanged, PolicyChanged:
		return c.ID == AnyTeam
	case ClientChanged:
		return c.ID == AnyClient
	default:
		// A kind written by a newer version may mean anything.
		return true
	}
}

// concerned says whether one of the changes may alter a standing.
func concerned(s *grant.Standing, changes map[Change]bool) bool {
	return changes[Change{Kind: PersonChanged, ID: string(s.Person.ID)}] || changes[Change{Kind: MemberChanged, ID: string(s.Person.ID)}] ||
		changes[Change{Kind: RoleChanged, ID: string(s.Team.ID)}] || changes[Change{Kind: PolicyChanged, ID: string(s.Team.ID)}] ||
		changes[Change{Kind: ClientChanged, ID: string(s.Client.Key())}]
}

// EndAll ends every watched request: the server is stopping.
func (g *Gate) EndAll() {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for w := range g.watches {
		w.end(ErrStreamOver)
	}
}
