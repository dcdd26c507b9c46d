package browser

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/orielhq/oriel/test/testenv"
)

// TestAccessiblePages has axe-core look at every page in every state that has
// a golden file, with the real style sheet and script.
func TestAccessiblePages(t *testing.T) {
	t.Parallel()
	web := filepath.Join(testenv.Root(t), "internal", "web")
	goldens, err := filepath.Glob(filepath.Join(web, "testdata", "*.html"))
	if err != nil || len(goldens) == 0 {
		t.Fatalf("no golden pages: %v", err)
	}
	mux := http.NewServeMux()
	for asset, file := range map[string]string{"NAME.css": "style.css", "NAME.js": "passkey.js", "NAME.svg": "icon.svg"} {
		mux.HandleFunc("GET /assets/"+asset, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFile(w, r, filepath.Join(web, "assets", file))
		})
	}
	mux.HandleFunc("GET /page/{name}", func(w http.ResponseWriter, r *http.Request) {
		page, err := os.ReadFile(filepath.Join(web, "testdata", filepath.Base(r.PathValue("name"))))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		// No inline script and no refresh: pages that go on by themselves stay.
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self'")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(bytes.ReplaceAll(page, []byte(`http-equiv="refresh"`), nil))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	// By name, where browsers have passkeys.
	base := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)

	b := testenv.NewBrowser(t)
	for _, golden := range goldens {
		name := filepath.Base(golden)
		if status := b.Open(base + "/page/" + name); status != http.StatusOK {
			t.Fatalf("%s: status %d", name, status)
		}
		b.Accessible(t, strings.TrimSuffix(name, ".html"))
	}
}

// TestKeyboardAlone: from the sign-in page to a connected client without a
// mouse. What has the focus always shows it.
func TestKeyboardAlone(t *testing.T) {
	t.Parallel()
	o := withTeams(t)
	c := o.Register(t, "Cursor")
	b := testenv.NewBrowser(t)
	b.Open(c.AuthorizationURL(o.MCPURL(), "scope", "openid logs:read traces:read"))
	b.TabTo("Email")
	b.Type(email)
	b.TabTo("Password")
	b.Type("three lamps, no door")
	b.TypeOn("\r")
	b.ExpectHeading("Sign in")
	b.TabTo("Password")
	b.Type(testenv.Password)
	b.TabTo("Sign in")
	b.TypeOn(" ")
	b.ExpectHeading("Cursor asks for access")
	b.TabTo("Payments") // the first of the teams, where Tab stops
	b.Type(" ")
	b.TabTo("Read traces")
	b.Type(" ") // takes the tick away
	b.TabTo("Allow access")
	b.TypeOn("\r")
	b.ExpectHeading("The client has its answer")
	tokens := c.Redeem(t, c.Answer(t).Get("code"))
	if tokens.Scope != "logs:read openid" {
		t.Errorf("granted: %+v", tokens)
	}

	b.Open(o.URL + "/connections")
	b.TabTo("Skip to the page")
	b.Type("\r")
	b.TabTo("Disconnect")
	b.TypeOn("\r")
	b.ExpectText("Nothing is connected")
	if status, _ := testenv.PostMCP(t, o.MCPURL(), tokens.AccessToken); status != http.StatusUnauthorized {
		t.Errorf("call after Disconnect: %d", status)
	}
	calm(t, b)
}
