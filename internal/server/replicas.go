package server

import (
	"context"
	"time"
)

// once returns what remembers used assertions for all replicas. A server that
// is alone remembers them by itself, without a write for each.
func (s *Server) once() func(ctx context.Context, hash string, until time.Time) (bool, error) {
	if s.Settings.DatabaseURL == "" {
		return nil
	}
	return s.db.UseOnce
}
