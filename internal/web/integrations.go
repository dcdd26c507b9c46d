package web

import (
	"fmt"
	"strings"
	"time"
)

// IntegrationsPage lists the client products in use, for owners.
type IntegrationsPage struct {
	Account      Account
	Integrations []Integration
	Now          time.Time
	// Notice is shown at the top, "" for none.
	Notice string
	// Block is what was typed into the form that blocks something beforehand,
	// and BlockError what is wrong with it.
	Block, BlockError string
}

// Integration is a client product as owners see it.
type Integration struct {
	ID   string
	Name string
	// Host is the verified host, "" for one that registered itself or is on
	// an administrator's list (Registered).
	Host       string
	Registered bool
	// Whole says that it is a host with everything that belongs to it, which
	// somebody blocked, and no client of its own.
	Whole       bool
	Destination string
	// People are whom its connections belong to; Programs are those that act
	// by themselves.
	People, Programs []string
	Connections      int
	LastUsed         time.Time
	// Blocked says that it is blocked itself, BlockedWith which hosts are that
	// it belongs to.
	Blocked     bool
	BlockedWith []string
}

// maxShownPeople is how many people of an integration are named.
const maxShownPeople = 5

// Shown are the people that are named; More says how many are not.
func (i Integration) Shown() []string { return i.People[:min(len(i.People), maxShownPeople)] }

// More is how many people Shown leaves out.
func (i Integration) More() int { return len(i.People) - len(i.Shown()) }

// Extent says how much would end: "3 people, 5 connections".
func (i Integration) Extent() string {
	var parts []string
	if n := len(i.People); n > 0 || len(i.Programs) == 0 {
		parts = append(parts, count(n, "person", "people"))
	}
	if n := len(i.Programs); n > 0 {
		parts = append(parts, count(n, "program", "programs"))
	}
	return strings.Join(append(parts, count(i.Connections, "connection", "connections")), ", ")
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// IntegrationPage asks an owner to confirm what would end.
type IntegrationPage struct {
	Account     Account
	Integration Integration
	// Block asks whether to block it, otherwise whether to end its
	// connections.
	Block bool
	// Back is the page to go back to.
	Back string
}

// ClientsPage lists the clients that were added beforehand, with the form for
// another one.
type ClientsPage struct {
	Account Account
	Clients []RegisteredClient
	Now     time.Time
	Notice  string
	Form    ClientForm
}

// RegisteredClient is a client that was added beforehand.
type RegisteredClient struct {
	Integration Integration
	ClientID    string
	// Secret says that it has one; it cannot be shown again.
	Secret bool
	// RedirectURIs are where answers are sent, LogoutURIs where the browser
	// may go after a logout.
	RedirectURIs, LogoutURIs []string
	// IDTokenAlg is the algorithm of its ID tokens.
	IDTokenAlg string
	// Does says whether it acts for people or by itself, and where.
	Does  string
	Since time.Time
}

// The kinds of client of the form.
const (
	PublicClient       = "public"
	ConfidentialClient = "confidential"
	ServiceClient      = "service"
)

// ClientForm is what was typed into the form for a new client, and what is
// wrong with it by field: name, kind, redirect_uris, logout_uris,
// id_token_alg, team, roles.
type ClientForm struct {
	Name, Kind             string
	RedirectURIs           string
	LogoutURIs, IDTokenAlg string
	Team, Roles            string
	Teams                  []StartTeam
	Errors                 map[string]string
}

// Open says whether the form should be seen at once.
func (f ClientForm) Open() bool { return len(f.Errors) > 0 }

// ClientAddedPage shows a new client's id and its secret, this once.
type ClientAddedPage struct {
	Account        Account
	Name, ClientID string
	// Secret is "" for a public client.
	Secret string
	// Service says that it acts by itself, at the token endpoint.
	Service          bool
	TokenURL, MCPURL string
}

func (p IntegrationsPage) frame() frame {
	return frame{Name: "integrations", Title: "Integrations", Account: &p.Account, Current: "/integrations"}
}

func (p IntegrationPage) frame() frame {
	title := "Revoke " + DisplayName(p.Integration.Name)
	if p.Block {
		title = "Block " + DisplayName(p.Integration.Name)
	}
	return frame{Name: "integration", Title: title, Account: &p.Account, Current: "/integrations"}
}

func (p ClientsPage) frame() frame {
	return frame{Name: "clients", Title: "Clients", Account: &p.Account, Current: "/clients"}
}

func (p ClientAddedPage) frame() frame {
	return frame{Name: "clientadded", Title: DisplayName(p.Name) + " is added", Account: &p.Account, Current: "/clients"}
}
