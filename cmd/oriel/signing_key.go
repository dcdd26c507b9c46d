package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/server"
)

type signingKeyCommand struct {
	List   signingKeyList   `cmd:"" help:"List the published signing keys."`
	Rotate signingKeyRotate `cmd:"" help:"Make new signing keys before their time; tokens of the present ones stay good."`

	Withdraw signingKeyWithdraw `cmd:"" help:"Take out a key that somebody else may know: every token that it signed ends at once."`
}

type jsonSigningKey struct {
	ID         string     `json:"id"`
	Algorithm  string     `json:"algorithm"`
	CreatedAt  *time.Time `json:"created_at"`
	SignsFrom  *time.Time `json:"signs_from"`
	Signs      bool       `json:"signs"`
	NextRotate *time.Time `json:"next_rotation"`
}

func signingKeys(states []grant.KeyState) (list []jsonSigningKey, rows [][]string) {
	list = make([]jsonSigningKey, 0, len(states))
	for _, k := range states {
		state := "published, signs no more"
		switch {
		case k.Signs:
			state = "signs"
		case !k.NextAt.IsZero():
			state = "signs from " + stamp(k.ActiveAt)
		}
		list = append(list, jsonSigningKey{k.ID, k.Algorithm, jsonTime(k.CreatedAt), jsonTime(k.ActiveAt), k.Signs, jsonTime(k.NextAt)})
		rows = append(rows, []string{k.ID, k.Algorithm, stamp(k.CreatedAt), stamp(k.NextAt), state})
	}
	return list, rows
}

type signingKeyList struct{ adminFlags }

// Run lists the keys; none is a secret.
func (c *signingKeyList) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		list, rows := signingKeys(a.Authority.Keys.States())
		return c.print(env, list, table("There is no signing key.", []string{"ID", "ALGORITHM", "CREATED", "NEXT ROTATION", "STATE"}, rows))
	})
}

type signingKeyRotate struct {
	adminFlags
	AtOnce bool `help:"Sign with the new keys at once, without publishing them first: for keys that somebody else may know."`
}

// Run makes new keys.
func (c *signingKeyRotate) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		made, err := a.Authority.Keys.RotateNow(env.ctx, c.AtOnce, operator())
		if err != nil {
			return err
		}
		list, _ := signingKeys(made)
		var text string
		for _, k := range made {
			text += fmt.Sprintf("Key %s (%s) is published; it signs from %s.\n", k.ID, k.Algorithm, k.ActiveAt.UTC().Format("2006-01-02 15:04:05Z"))
		}
		return c.print(env, list, text)
	})
}

type signingKeyWithdraw struct {
	adminFlags
	confirmFlags
	ID string `required:"" help:"Id of the key (oriel signing-key list shows it)." placeholder:"K"`
}

// ends says what the withdrawal ends. Tokens are not kept, but the connections
// that have them are.
func (c *signingKeyWithdraw) ends(env *environment, a *server.Admin) (string, error) {
	if err := a.Authority.Keys.Reload(env.ctx); err != nil {
		return "", err
	}
	states := a.Authority.Keys.States()
	i := slices.IndexFunc(states, func(k grant.KeyState) bool { return k.ID == c.ID })
	switch {
	case i < 0:
		return "", fmt.Errorf("withdraw signing key %s: %w", c.ID, grant.ErrSigningKeyUnknown)
	case states[i].Algorithm != "ES256":
		return "This ends every ID token that the key signed.", nil
	}
	all, err := a.Authority.Connections(env.ctx, grant.ConnectionFilter{})
	if err != nil {
		return "", err
	}
	of := fmt.Sprintf("%d connections", len(all))
	if len(all) == 1 {
		of = "1 connection"
	}
	return fmt.Sprintf("This ends the access tokens that the key signed, of up to %s, until the clients refresh, and every ID token that it signed.", of), nil
}

// Run withdraws a key, if that is meant, and says what ended with it.
func (c *signingKeyWithdraw) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		ends, err := c.ends(env, a)
		if err != nil {
			return err
		}
		if err := c.confirm(env, ends); err != nil {
			return err
		}
		w, err := a.Authority.Keys.Withdraw(env.ctx, c.ID, operator())
		if err != nil {
			return err
		}
		out := map[string]any{"withdrawn": w.Withdrawn.ID, "algorithm": w.Withdrawn.Algorithm, "replacement": nil}
		what := "access tokens and ID tokens"
		if w.Withdrawn.Algorithm != "ES256" {
			what = "ID tokens" // access tokens are ES256
		}
		text := fmt.Sprintf("Key %s (%s) is withdrawn. All %s that it signed have ended; a running server refuses them within a second.\n", w.Withdrawn.ID, w.Withdrawn.Algorithm, what) +
			"No connection has ended: assistants come back by themselves with their refresh tokens, which this key did not sign.\n" +
			fmt.Sprintf("Other programs that check ID tokens may go on trusting the key until they read the key set again, %d minutes at most if they keep to what it says.\n", int(grant.JWKSAge.Minutes()))
		switch {
		case w.Replacement.ID == "":
			text += "It signed no more, so nothing takes its place.\n"
		case w.Replacement.Signs:
			text += fmt.Sprintf("Key %s signs from now on.\n", w.Replacement.ID)
		default:
			text += fmt.Sprintf("Key %s takes its place; it signs from %s.\n", w.Replacement.ID, w.Replacement.ActiveAt.UTC().Format("2006-01-02 15:04:05Z"))
		}
		if w.Replacement.ID != "" {
			out["replacement"] = w.Replacement.ID
		}
		return c.print(env, out, text)
	})
}
