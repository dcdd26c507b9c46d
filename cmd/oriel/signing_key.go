package main

import (
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/server"
)

type signingKeyCommand struct {
	List   signingKeyList   `cmd:"" help:"List the published signing keys."`
	Rotate signingKeyRotate `cmd:"" help:"Make new signing keys before their time; tokens of the present ones stay good."`
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
