package console

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/web"
)

// reasonAdminDisconnected is what the person reads on their own page.
const reasonAdminDisconnected = "disconnected by an administrator of the team"

// teamConnections lists everybody's connections to a team.
func (c *Console) teamConnections(ctx context.Context, t org.Team) ([]web.TeamConnection, error) {
	list, err := c.Authority.Connections(ctx, grant.ConnectionFilter{Team: t.ID})
	if err != nil {
		return nil, err
	}
	var out []web.TeamConnection
	for _, con := range list {
		shown := web.TeamConnection{Connection: c.shown(con), Person: con.Person.Name}
		if shown.Trouble, err = c.trouble(ctx, con); err != nil {
			return nil, err
		}
		out = append(out, shown)
	}
	return out, nil
}

// disconnectFrom ends somebody's connection to the team. One to another team
// is answered like one that does not exist.
func (c *Console) disconnectFrom(w http.ResponseWriter, r *http.Request, m manager) error {
	ctx, id, back := r.Context(), grant.ID(r.PathValue("id")), "/teams/"+m.team.Slug
	list, err := c.Authority.Connections(ctx, grant.ConnectionFilter{Team: m.team.ID})
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(con grant.Connection) bool { return con.Grant.ID == id && con.Team.ID == m.team.ID })
	if i < 0 {
		return &web.Error{
			Status: http.StatusNotFound, Public: "The team has no such connection. It may have ended already.",
			Links: []web.Link{{Text: "The team", URL: back}},
		}
	}
	if err := c.Authority.EndGrant(ctx, id, reasonAdminDisconnected, c.actor(m.Session, r)); err != nil {
		return err
	}
	return c.done(w, r, back, fmt.Sprintf("%s of %s is disconnected. Its next request is refused.", web.DisplayName(list[i].Client.Name()), list[i].Person.Name))
}
