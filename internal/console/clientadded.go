package console

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/web"
)

const (
	clientAddedPath = "/clients/added"
	// addedLifetime is for how long the credentials of a new client wait for
	// the page that shows them: the browser goes there by itself.
	addedLifetime = time.Minute
	addedPurpose  = "credentials shown once"
)

// addedClient is a client that was just added.
type addedClient struct {
	Name, ClientID, Secret string
	Service                bool
}

// sealedClient is what travels: nothing of it can be read outside.
type sealedClient struct {
	addedClient
	Until int64 // Unix milliseconds
}

// handOut gives the browser the credentials, encrypted for its session alone,
// in a cookie that the page after next takes away. So a page that is loaded
// again adds nothing and shows nothing a second time, the secret stands in no
// address, and the server keeps it nowhere.
func (c *Console) handOut(w http.ResponseWriter, s login.Session, added addedClient) error {
	aead, err := c.addedKey()
	if err != nil {
		return err
	}
	text, err := json.Marshal(sealedClient{added, c.Now().Add(addedLifetime).UnixMilli()})
	if err != nil {
		return fmt.Errorf("encode credentials: %w", err)
	}
	c.setAdded(w, base64.RawURLEncoding.EncodeToString(aead.Seal(nil, nil, text, []byte(s.Hash))), int(addedLifetime/time.Second))
	return nil
}

func (c *Console) addedKey() (cipher.AEAD, error) {
	block, err := aes.NewCipher(c.Authority.Master.Derive(addedPurpose))
	if err != nil {
		return nil, fmt.Errorf("key for credentials: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("key for credentials: %w", err)
	}
	return aead, nil
}

func (c *Console) addedCookie() string {
	if c.Site.Secure() {
		return "__Host-oriel-added"
	}
	return "oriel-added"
}

func (c *Console) setAdded(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: c.addedCookie(), Value: value, Path: "/", MaxAge: maxAge,
		Secure: c.Site.Secure(), HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
}

var errNothingAdded = errors.New("no credentials wait in this session")

func (c *Console) takeAdded(r *http.Request, s login.Session) (addedClient, error) {
	var added sealedClient
	cookie, err := r.Cookie(c.addedCookie())
	if err != nil {
		return added.addedClient, errNothingAdded
	}
	aead, err := c.addedKey()
	if err != nil {
		return added.addedClient, err
	}
	sealed, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil {
		return added.addedClient, errNothingAdded
	}
	text, err := aead.Open(nil, nil, sealed, []byte(s.Hash))
	if err != nil || json.Unmarshal(text, &added) != nil || c.Now().UnixMilli() > added.Until {
		return addedClient{}, errNothingAdded
	}
	return added.addedClient, nil
}

// clientAdded shows the credentials of a new client, this once. Whoever loads
// it again is led to the list.
func (c *Console) clientAdded(w http.ResponseWriter, r *http.Request, s login.Session) error {
	added, err := c.takeAdded(r, s)
	if errors.Is(err, errNothingAdded) {
		http.Redirect(w, r, c.withNotice(clientsPath, "Credentials are shown once, when a client is added."), http.StatusSeeOther)
		return nil
	}
	if err != nil {
		return err
	}
	c.setAdded(w, "", -1)
	return c.Site.Render(w, http.StatusOK, web.ClientAddedPage{
		Account: account(s), Name: added.Name, ClientID: added.ClientID, Secret: added.Secret, Service: added.Service,
		TokenURL: c.Site.PublicURL + spec.TokenPath, MCPURL: c.MCPURL,
	})
}
