package main

import (
	"log/slog"
	"strconv"

	"github.com/dustin/go-humanize"

	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/server"
)

type telemetryCommand struct {
	Usage telemetryUsage `cmd:"" help:"What each team's logs, spans and metrics take."`
}

type telemetryUsage struct {
	adminFlags
	config.Telemetry `embed:"" prefix:"telemetry-"`
}

type jsonUsage struct {
	Team string `json:"team"`
	server.SignalUsage
}

// Run prints rows or series, and bytes on disk, per team and signal.
func (c *telemetryUsage) Run(env *environment) error {
	return c.with(env, func(a *server.Admin) error {
		teams, err := a.Directory.Teams(env.ctx)
		if err != nil {
			return err
		}
		all, err := server.Usage(env.ctx, server.UsageConfig{
			Store: c.Store, Telemetry: c.Telemetry, Engine: engineProcess,
			Logger: slog.New(logHandler(env.stderr, "text", "error")),
		}, teams)
		if err != nil {
			return err
		}
		list, rows := []jsonUsage{}, [][]string{}
		for _, t := range teams {
			for _, u := range all {
				if u.Tenant != t.Tenant {
					continue
				}
				list = append(list, jsonUsage{t.Slug, u})
				count := strconv.FormatInt(u.Rows, 10) + " rows"
				if u.Signal == "metrics" {
					count = strconv.FormatInt(u.Series, 10) + " series"
				}
				rows = append(rows, []string{t.Slug, u.Signal, count, humanize.IBytes(uint64(max(0, u.Bytes)))})
			}
		}
		return c.print(env, list, table("There is no team yet.", []string{"TEAM", "SIGNAL", "STORED", "ON DISK"}, rows))
	})
}
