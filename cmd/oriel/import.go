package main

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/ingest/logfile"
	"github.com/orielhq/oriel/internal/server"
)

type importCommand struct {
	adminFlags
	config.Telemetry `embed:"" prefix:"telemetry-"`
	Team             string   `required:"" help:"Slug of the team that the logs go to." placeholder:"S"`
	Format           string   `help:"auto, plain, jsonl, syslog or logfmt." enum:"auto,plain,jsonl,syslog,logfmt" default:"auto" placeholder:"F"`
	Service          string   `help:"The records' service.name. Default: the file's name without its extension." placeholder:"NAME"`
	Zone             string   `help:"Time zone of time-stamps that name none, e.g. Europe/Berlin." default:"UTC" placeholder:"ZONE"`
	ShiftToNow       bool     `help:"Move each file's times so that its last record is now; spacing stays."`
	File             []string `arg:"" help:"Log files; - is standard input, .gz files are unpacked."`
}

// Run imports log files, with a progress bar on standard error and what
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
			Store: c.Store, Telemetry: c.Telemetry, Engine: engineProcess, Files: c.File,
			Logger: slog.New(logHandler(env.stderr, "text", "error")),
			Options: logfile.ImportOptions{
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
