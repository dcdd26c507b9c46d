// Package audit owns what can be recorded about a change: who did what to
// whom, when and from where. It holds no I/O; each change is stored with its
// event in one transaction by the method that makes the change.
package audit

import "time"

// Kind names what happened, as noun.verb in lower case.
type Kind string

// The kinds of event. Names are stored: they are added to, never renamed.
const (
	OwnerCreated     Kind = "owner.created"
	PersonCreated    Kind = "person.created"
	PersonDisabled   Kind = "person.disabled"
	PersonEnabled    Kind = "person.enabled"
	PasswordChanged  Kind = "password.changed"
	TeamCreated      Kind = "team.created"
	MemberSet        Kind = "member.set"
	MemberRemoved    Kind = "member.removed"
	RoleSet          Kind = "role.set"
	KeyCreated       Kind = "key.created"
	KeyRevoked       Kind = "key.revoked"
	SignedIn         Kind = "session.started"
	SignInRefused    Kind = "session.refused"
	SignedOut        Kind = "session.ended"
	GrantApproved    Kind = "grant.approved"
	GrantRemembered  Kind = "grant.remembered"
	GrantSteppedUp   Kind = "grant.stepped_up"
	GrantDenied      Kind = "grant.denied"
	GrantRedeemed    Kind = "grant.redeemed"
	GrantEnded       Kind = "grant.ended"
	CodeReused       Kind = "code.reused"
	RefreshReused    Kind = "refresh.reused"
	ClientRevoked    Kind = "client.revoked"
	ClientBlocked    Kind = "client.blocked"
	ClientUnblocked  Kind = "client.unblocked"
	ClientRegistered Kind = "client.registered"
	ClientRefused    Kind = "client.refused"
	ServiceConnected Kind = "service.connected"
	TokenExchanged   Kind = "token.exchanged"
	SigningKeyMade   Kind = "signing_key.created"
	DeviceApproved   Kind = "device.approved"
	DeviceGuessed    Kind = "device.guessed"
	IssuerAdded      Kind = "issuer.added"
	IssuerRemoved    Kind = "issuer.removed"
	AssertionTaken   Kind = "assertion.taken"
	AssertionRefused Kind = "assertion.refused"

	PersonProvisioned   Kind = "person.provisioned"
	PersonDeprovisioned Kind = "person.deprovisioned"
	PersonChanged       Kind = "person.changed"
	SCIMTokenCreated    Kind = "scim_token.created"
	SCIMTokenRevoked    Kind = "scim_token.revoked"
	GroupCreated        Kind = "group.created"
	GroupChanged        Kind = "group.changed"
	GroupRemoved        Kind = "group.removed"
	GroupMembers        Kind = "group.members"
	GroupRolesSet       Kind = "group.roles_set"
	TeamRenamed         Kind = "team.renamed"
	RoleRemoved         Kind = "role.removed"

	// SignInHalfway: the first factor was right, another is asked for.
	SignInHalfway     Kind = "session.halfway"
	FactorAdded       Kind = "factor.added"
	FactorRenamed     Kind = "factor.renamed"
	FactorRemoved     Kind = "factor.removed"
	FactorsReset      Kind = "factors.reset"
	PasskeyCloned     Kind = "passkey.cloned"
	RecoveryCodesMade Kind = "recovery_codes.created"
	RecoveryCodeUsed  Kind = "recovery_code.used"
	PolicySet         Kind = "policy.set"

	ProviderAdded    Kind = "provider.added"
	ProviderChanged  Kind = "provider.changed"
	ProviderEnabled  Kind = "provider.enabled"
	ProviderDisabled Kind = "provider.disabled"
	ProviderRemoved  Kind = "provider.removed"
	ProviderMapped   Kind = "provider.mapped"
	ProviderUnmapped Kind = "provider.unmapped"
	ProviderLogout   Kind = "provider.logout"
	SSOOnlySet       Kind = "domain.sso_only"
	SSOOnlyLifted    Kind = "domain.passwords_allowed"
	BreakGlassSet    Kind = "break_glass.given"
	BreakGlassTaken  Kind = "break_glass.taken"
	IdentityLinked   Kind = "identity.linked"
	IdentityUnlinked Kind = "identity.unlinked"

	PersonDeleted       Kind = "person.deleted"
	OwnerGiven          Kind = "owner.given"
	OwnerTaken          Kind = "owner.taken"
	SignedOutEverywhere Kind = "sessions.ended"
	// InvitationMade and ResetLinkMade: a link with which somebody chooses a
	// password.
	InvitationMade Kind = "invitation.created"
	ResetLinkMade  Kind = "reset_link.created"

	ClientDeleted       Kind = "client.deleted"
	SigningKeyWithdrawn Kind = "signing_key.withdrawn"
	StoreMoved          Kind = "store.moved"

	ClientDocumentFetched Kind = "client_document.fetched"
	ClientDocumentRefused Kind = "client_document.refused"
)

// ActorKind says what sort of actor caused an event.
type ActorKind string

// The sorts of actor.
const (
	ByPerson ActorKind = "person"
	ByClient ActorKind = "client"
	ByShell  ActorKind = "shell"
	BySystem ActorKind = "system"
	// ByProvider is an identity provider that provisions; its id is the name
	// of its token.
	ByProvider ActorKind = "provider"
)

// Actor is who caused an event. The zero Actor is the system itself.
type Actor struct {
	Kind ActorKind
	// ID is the person's or client's id, or the operating system's user name
	// for the shell.
	ID string
	// Address is the network address the request came from, "" where there
	// was none.
	Address string
}

// Shell returns the actor for an administration command.
func Shell(user string) Actor { return Actor{Kind: ByShell, ID: user} }

// System returns the actor for what Oriel does by itself.
func System() Actor { return Actor{Kind: BySystem} }

// Person returns the actor for a signed-in person at an address.
func Person(id, address string) Actor { return Actor{Kind: ByPerson, ID: id, Address: address} }

// Client returns the actor for an OAuth client at an address.
func Client(id, address string) Actor { return Actor{Kind: ByClient, ID: id, Address: address} }

// Event is one entry of the audit log. It never holds a secret.
type Event struct {
	At     time.Time
	Actor  Actor
	Kind   Kind
	Target string
	// Team is the slug of the team concerned, "" for the organization.
	Team string
	// Detail says in one line what a reader wants to know beyond the rest.
	Detail string
}

// Entry is an event as it was stored, with its place in the log.
type Entry struct {
	// Seq grows with each entry.
	Seq int64
	Event
	// Who is the actor's e-mail address or name where it is known, else its
	// id.
	Who string
}

// Filter narrows what is read of the audit log; zero fields match all.
type Filter struct {
	// After leaves out entries up to that sequence number.
	After int64
	// Before leaves out entries from that sequence number on.
	Before       int64
	Since, Until time.Time
	Kind         Kind
	// Text is looked for in kind, actor, target, team, address and detail,
	// whatever its case.
	Text string
	// Email matches what a person did and what was done to them.
	Email string
	// Grant matches what concerns one grant.
	Grant string
	// Limit is how many of the newest are returned; 0 means all.
	Limit int
}
