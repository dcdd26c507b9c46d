package browser

import (
	"net/http"
	"strings"
	"testing"

	"github.com/orielhq/oriel/test/testenv"
)

const ownerEmail = "grace@example.com"

// TestOwnerPages: an owner adds a client, sees what people have connected,
// and ends and blocks it.
func TestOwnerPages(t *testing.T) {
	t.Parallel()
	for kind, opts := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o := withTeams(t)
			o.AdminInput(testenv.Password+"\n", "user", "add", "--owner", "--email", ownerEmail, "--name", "Grace Hopper", "--password-stdin")
			c := o.Register(t, "Lamp")
			tokens := c.SignIn(t, testenv.NewBrowser(t, opts...), o.MCPURL("payments"), email, "")

			b := testenv.NewBrowser(t, opts...)
			b.Open(o.URL + "/integrations")
			b.SignIn(ownerEmail)
			b.ExpectHeading("Integrations")
			b.ExpectText(email)
			b.Picture("integrations")
			b.Follow("Revoke")
			b.ExpectHeading("Revoke Lamp?")
			b.ExpectText("1 person, 1 connection")
			b.Picture("integration-revoke")
			b.Follow("Cancel")
			b.ExpectHeading("Integrations")
			if status, _ := testenv.PostMCP(t, o.MCPURL("payments"), tokens.AccessToken); status != http.StatusOK {
				t.Errorf("MCP call after Cancel: %d", status)
			}
			b.Follow("Revoke")
			b.Press("Revoke")
			b.ExpectText("Lamp is revoked: 1 person, 1 connection.")
			if status, _ := testenv.PostMCP(t, o.MCPURL("payments"), tokens.AccessToken); status != http.StatusUnauthorized {
				t.Errorf("MCP call after Revoke: %d, want 401", status)
			}
			b.Unfold("Block something beforehand")
			b.Fill("Host or address of a metadata document", "evil.example")
			b.Press("Block")
			b.ExpectText("evil.example is blocked.")
			b.Press("Unblock")
			b.ExpectText("evil.example is unblocked.")

			b.Follow("Clients")
			b.ExpectText("No client has been added.")
			b.Unfold("Add a client")
			if strings.Contains(b.Text(), "Separated by commas") {
				t.Error("what only a program needs is shown at once")
			}
			b.Choose("A program that acts by itself")
			b.ExpectText("Separated by commas")
			b.Choose("An app on a server")
			b.Fill("Name", "Portal")
			b.Write("Redirect URIs", "http://portal.example/cb")
			b.Press("Add client")
			b.ExpectText("Redirect URI \"http://portal.example/cb\"")
			b.Picture("client-wrong")
			b.Fill("Redirect URIs", "https://portal.example/cb")
			b.Press("Add client")
			b.ExpectHeading("Portal is added")
			b.ExpectText("Copy the secret now.")
			b.Picture("client-added")
			b.Follow("I have copied both")
			b.ExpectText("https://portal.example/cb")
			b.Picture("clients")
			b.Follow("Block")
			b.ExpectHeading("Block Portal?")
			b.Press("Block")
			b.ExpectText("Portal is blocked.")
			b.Press("Unblock")
			b.ExpectText("Portal is unblocked.")
			calm(t, b)
		})
	}
}
