package main

import (
	"fmt"
	"os"

	"github.com/dustin/go-humanize"

	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/server"
)

type backupCommand struct {
	adminFlags
	To string `arg:"" help:"File to write; it must not exist." type:"path"`
}

// Run copies the database while the server goes on.
func (c *backupCommand) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		f, err := a.Backup(env.ctx, c.To)
		if err != nil {
			return err
		}
		info, err := os.Stat(c.To)
		if err != nil {
			return fmt.Errorf("look at the copy: %w", err)
		}
		return c.print(env, map[string]any{"file": c.To, "bytes": info.Size(), "schema": f.Version, "people": f.People, "teams": f.Teams, "connections": f.Connections},
			fmt.Sprintf("%s: %s, %d people, %d teams, %d connections.\nThe master key is not in it: keep %s, and elsewhere than this file. Telemetry is not in it either.\n",
				c.To, humanize.IBytes(uint64(info.Size())), f.People, f.Teams, f.Connections, masterKeyPlace(c.Store)))
	})
}

// masterKeyPlace says where the master key comes from.
func masterKeyPlace(c config.Store) string {
	if os.Getenv("ORIEL_MASTER_KEY") != "" {
		return "ORIEL_MASTER_KEY"
	}
	return c.Path("master.key")
}

type restoreCommand struct {
	adminFlags
	From           string `arg:"" help:"File that oriel backup wrote." type:"path"`
	Replace        bool   `help:"Restore over a database that is there; it is put aside, not deleted."`
	EndConnections bool   `help:"End every connection and session: what was revoked after the copy was made would work again otherwise."`
}

// Run puts a copy of the database back while no server runs.
func (c *restoreCommand) Run(env *environment) error {
	r, err := server.Restore(env.ctx, server.RestoreConfig{
		Store: c.Store, From: c.From, Replace: c.Replace, EndConnections: c.EndConnections, By: operator(),
	})
	if err != nil {
		return err
	}
	text := fmt.Sprintf("Restored: %d people, %d teams, %d connections.\n", r.People, r.Teams, r.Connections)
	if r.Kept != "" {
		text += fmt.Sprintf("The former database is %s; delete it when it is not needed any more.\n", r.Kept)
	}
	if c.EndConnections {
		text += fmt.Sprintf("%d connections and all sessions have ended.\n", r.Ended)
	} else {
		text += "What was revoked after the copy was made works again: look through \"oriel grant list\" and \"oriel user list\".\n"
	}
	return c.print(env, map[string]any{"people": r.People, "teams": r.Teams, "connections": r.Connections, "kept": r.Kept, "ended": r.Ended}, text)
}
