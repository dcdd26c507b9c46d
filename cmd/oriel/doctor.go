package main

import (
	"errors"
	"fmt"

	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/server"
)

type doctorCommand struct {
	config.Server
	JSON bool `name:"json" help:"Print JSON, for programs."`
}

type jsonFinding struct {
	Check  string `json:"check"`
	State  string `json:"state"`
	Detail string `json:"detail"`
	Next   string `json:"next,omitempty"`
}

// Run examines the installation. Like every command it brings an older
// database up to date when it opens it.
func (c *doctorCommand) Run(env *environment) error {
	findings := server.Examine(env.ctx, c.Server)
	list, failed, text := make([]jsonFinding, 0, len(findings)), 0, ""
	for _, f := range findings {
		list = append(list, jsonFinding{f.Check, string(f.State), f.Detail, f.Next})
		text += fmt.Sprintf("%-4s  %-16s  %s", f.State, f.Check, f.Detail)
		if f.Next != "" {
			text += " → " + f.Next
		}
		text += "\n"
		if f.State == server.Failed {
			failed++
		}
	}
	if err := (&adminFlags{JSON: c.JSON}).print(env, list, text); err != nil {
		return err
	}
	if failed == 1 {
		return errors.New("doctor: 1 check failed")
	}
	if failed > 1 {
		return fmt.Errorf("doctor: %d checks failed", failed)
	}
	return nil
}
