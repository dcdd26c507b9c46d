package console

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/web"
)

func (c *Console) connections(w http.ResponseWriter, r *http.Request, s login.Session) error {
	list, err := c.Authority.Connections(r.Context(), grant.ConnectionFilter{Person: s.Person.ID})
	if err != nil {
		return err
	}
	page := web.ConnectionsPage{Account: account(s), Now: c.Now(), Notice: c.notice(r), MCPURL: c.MCPURL}
	for _, con := range list {
		shown := c.shown(con)
		if shown.Trouble, err = c.trouble(r.Context(), con); err != nil {
			return err
		}
		page.Connections = append(page.Connections, shown)
	}
	if page.Ended, err = c.ended(r, s); err != nil {
		return err
	}
	return c.Site.Render(w, http.StatusOK, page)
}

const (
	reasonDisconnected = "disconnected by the person"
	// maxEnded is how many ended connections the page tells of.
	maxEnded = 5
)

// ended lists the connections that ended lately without the person's doing.
func (c *Console) ended(r *http.Request, s login.Session) ([]web.EndedConnection, error) {
	list, err := c.Authority.EndedLately(r.Context(), s.Person.ID)
	if err != nil {
		return nil, err
	}
	var out []web.EndedConnection
	for _, con := range list {
		if con.Grant.EndReason != reasonDisconnected && len(out) < maxEnded {
			out = append(out, web.EndedConnection{ClientName: con.Client.Name(), Team: con.Team.Name, At: con.Grant.EndedAt, Why: con.Grant.EndReason})
		}
	}
	return out, nil
}

// shown returns a connection as its page shows it.
func (c *Console) shown(con grant.Connection) web.Connection {
	g, client := con.Grant, con.Client
	out := web.Connection{
		ID: string(g.ID), ClientName: client.Name(), Host: verifiedHost(client), Team: con.Team.Name,
		Since: g.CreatedAt, LastUsed: g.LastUsedAt, Ends: c.ends(g),
	}
	out.Destination = destination(client)
	for _, scope := range g.Scopes.List() {
		if words := web.ScopeInWords(scope); words != "" {
			out.Scopes = append(out.Scopes, strings.ToLower(words[:1])+words[1:])
		}
	}
	return out
}

// destination says where a client's answers are sent.
func destination(client grant.Client) string {
	var to []string
	for _, u := range client.Metadata.RedirectURIs {
		if d := u.Destination(); !slices.Contains(to, d) {
			to = append(to, d)
		}
	}
	return strings.Join(to, ", ")
}

// verifiedHost returns the host that a client is known to belong to: that of
// its metadata document, which only the host's owner can have put there.
func verifiedHost(client grant.Client) string {
	if client.Kind != grant.Document {
		return ""
	}
	u, err := url.Parse(string(client.ID))
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// ends says when a connection ends by itself.
func (c *Console) ends(g grant.Grant) string {
	l := c.Authority.Lifetimes
	var when []string
	if l.Absolute > 0 {
		when = append(when, "on "+g.CreatedAt.Add(l.Absolute).UTC().Format("2 January 2006"))
	}
	if l.Idle > 0 {
		when = append(when, "after "+days(l.Idle)+" without use")
	}
	return strings.Join(append([]string{"When you disconnect it"}, when...), ", or ")
}

func days(d time.Duration) string {
	switch n := int(d / (24 * time.Hour)); {
	case n == 1:
		return "a day"
	case n > 1:
		return fmt.Sprintf("%d days", n)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d/time.Hour))
	default:
		return fmt.Sprintf("%d minutes", int(d/time.Minute))
	}
}

// trouble says why a living connection gives nothing at present.
func (c *Console) trouble(ctx context.Context, con grant.Connection) (string, error) {
	if con.Client.Blocked {
		return "An administrator has blocked this integration, so it gives nothing at present.", nil
	}
	demanded, err := c.Directory.MFA(ctx, con.Team.ID)
	if err != nil {
		return "", fmt.Errorf("read policy: %w", err)
	}
	if demanded.MetBy(con.Grant.AMR) {
		return "", nil
	}
	return "It gives nothing at present: " + grant.TooWeak(demanded) + ".", nil
}

// disconnect ends one of the person's own connections. Somebody else's is
// answered like one that does not exist.
func (c *Console) disconnect(w http.ResponseWriter, r *http.Request, s login.Session) error {
	ctx, id := r.Context(), grant.ID(r.PathValue("id"))
	list, err := c.Authority.Connections(ctx, grant.ConnectionFilter{Person: s.Person.ID})
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(con grant.Connection) bool { return con.Grant.ID == id && con.Person.ID == s.Person.ID })
	if i < 0 {
		return &web.Error{
			Status: http.StatusNotFound, Public: "You have no such connection. It may have ended already.",
			Links: []web.Link{{Text: "Connections", URL: "/connections"}},
		}
	}
	if err := c.Authority.EndGrant(ctx, id, reasonDisconnected, c.actor(s, r)); err != nil {
		return err
	}
	words := fmt.Sprintf("%s is disconnected. Its next request is refused.", web.DisplayName(list[i].Client.Name()))
	http.Redirect(w, r, c.withNotice("/connections", words), http.StatusSeeOther)
	return nil
}
