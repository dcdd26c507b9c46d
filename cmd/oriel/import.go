package main

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/ingest/importer"
	"github.com/orielhq/oriel/internal/server"
)

type importCommand struct {
	adminFlags
	config.Telemetry `embed:"" prefix:"telemetry-"`
	config.Retention `embed:""`
	Team             string   `required:"" help:"Slug of the team that they go to." placeholder:"S"`
	Format           string   `help:"Logs: plain, jsonl, syslog or logfmt; logs, spans and metrics: otlp; metrics: openmetrics. auto looks at each file." enum:"auto,plain,jsonl,syslog,logfmt,otlp,openmetrics" default:"auto" placeholder:"F"`
	Service          string   `help:"Log records' service.name, by default the file's name without its extension; the label service_name of samples that have none, by default none. What OTLP says is kept." placeholder:"NAME"`
	Zone             string   `help:"Time zone of time-stamps that name none, e.g. Europe/Berlin." default:"UTC" placeholder:"ZONE"`
	ShiftToNow       bool     `help:"Move each file's times so that its last record is now; spacing stays."`
	File             []string `arg:"" help:"Files; - is standard input, .gz files are unpacked."`
}

// Run imports files, with a progress bar on standard error and what
// became of every record on standard output.
func (c *importCommand) Run(env *environment) error {
	zone, err := time.LoadLocation(c.Zone)
	if err != nil {
		return fmt.Errorf("--zone %q: there is no such time zone", c.Zone)
	}
	return c.with(env, func(a *server.Admin) error {
		team, err := a.Directory.Team(env.ctx, c.Team)
		if err != nil {
			return err
		}
		bar := progressbar.NewOptions64(1,
			progressbar.OptionSetWriter(env.stderr),
			progressbar.OptionSetDescription("Importing"),
			progressbar.OptionShowBytes(true),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionFullWidth(),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionOnCompletion(func() { fmt.Fprintln(env.stderr) }))
		sum, err := server.Import(env.ctx, server.ImportConfig{
			Store: c.Store, Telemetry: c.Telemetry, Retention: c.Retention, Engine: engineProcess, Files: c.File,
			Logger: slog.New(logHandler(env.stderr, "text", "error")),
			Finishing: func() {
				_ = bar.Finish()
				fmt.Fprintln(env.stderr, "Writing to disk")
			},
			Options: importer.Options{
				Tenant: team.Tenant, ShiftToNow: c.ShiftToNow, Now: time.Now, Stdin: env.stdin,
				Format: c.Format, Location: zone, Service: c.Service,
				Progress: func(done, total int64) {
					bar.ChangeMax64(max(total, 1))
					_ = bar.Set64(done) // a bar that cannot be drawn is no reason to stop
				},
			},
		})
		if err == nil {
			_ = bar.Finish()
		}
		return errors.Join(err, c.print(env, sum, sum.String()))
	})
}
