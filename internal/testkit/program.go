package testkit

import (
	"context"
	"os/exec"

	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/server"
)

// Engine makes the command of the engine's process, for tests that build a
// server themselves.
func Engine(ctx context.Context, s server.EngineSettings) *exec.Cmd { return engineProcess(ctx, s) }

// Settings returns what the server runs with, its real port included.
func (s *Server) Settings() config.Server { return s.settings }
