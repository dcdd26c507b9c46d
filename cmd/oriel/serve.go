package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"time"

	"golang.org/x/term"

	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/server"
)

// gcPercent lets the heap grow to five times what is in use.
const gcPercent = 400

type serveCommand struct {
	config.Server
}

// Run serves until it is interrupted.
func (c *serveCommand) Run(env *environment) error {
	if os.Getenv("GOGC") == "" {
		// The server's own heap is small (the engine has a process of its
		// own): collecting it less often saves an eighth of the processor
		// time of a token, for some 20 MiB.
		debug.SetGCPercent(gcPercent)
	}
	s, err := server.New(env.ctx, server.Config{
		Settings: c.Server,
		Now:      time.Now,
		Logs:     logHandler(env.stderr, c.Log.Format, c.Log.Level),
		Engine:   engineProcess,
		Version:  version(),
	})
	if err != nil {
		return err
	}
	if err := s.Announce(env.ctx, env.stdout); err != nil {
		return errors.Join(err, s.Run(canceled(env.ctx)))
	}
	return s.Run(env.ctx)
}

// canceled returns a context that is done, to close a server in good order.
func canceled(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}

// logHandler writes text for people and JSON for machines.
func logHandler(w io.Writer, format, level string) slog.Handler {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo // unreachable: the flag takes only known levels
	}
	o := &slog.HandlerOptions{Level: l}
	if format == "text" || (format == "auto" && isTerminal(w)) {
		return slog.NewTextHandler(w, o)
	}
	return slog.NewJSONHandler(w, o)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// engineProcess runs this program again, as the engine.
func engineProcess(ctx context.Context, s server.EngineSettings) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	return exec.CommandContext(ctx, self, "engine",
		"--data", s.DataDir, "--socket", s.Socket, "--retention", s.Retention.String(),
		"--memory-bytes", strconv.FormatInt(s.MemoryBytes, 10),
		"--min-free-bytes", strconv.FormatInt(s.MinFreeBytes, 10))
}

type engineCommand struct {
	Data         string        `required:"" help:"Folder of the engine's files."`
	Socket       string        `required:"" help:"Unix socket to listen on."`
	Retention    time.Duration `required:"" help:"How long records are kept."`
	MemoryBytes  int64         `required:"" help:"Memory for caches and queries."`
	MinFreeBytes int64         `required:"" help:"Disk space that stays free."`
}

// Run is the engine until standard input, which the server holds open, ends.
func (c *engineCommand) Run(env *environment) error {
	err := server.RunEngine(env.ctx, server.EngineSettings{
		DataDir: c.Data, Socket: c.Socket, Retention: c.Retention, MemoryBytes: c.MemoryBytes, MinFreeBytes: c.MinFreeBytes,
	}, env.stdin)
	if err != nil {
		return fmt.Errorf("log engine: %w", err)
	}
	return nil
}
