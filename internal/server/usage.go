package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/telemetry"
)

// SignalUsage is what one signal of one team takes.
type SignalUsage struct {
	Tenant telemetry.TenantID `json:"tenant"`
	// Signal is logs, spans or metrics.
	Signal string `json:"signal"`
	// Rows are log records or spans, Series active metric series.
	Rows   int64 `json:"rows,omitempty"`
	Series int64 `json:"series,omitempty"`
	// Bytes on disk, without the index that the teams share.
	Bytes int64 `json:"bytes"`
}

const inletUsage = "/usage"

// UsageConfig is what Usage needs.
type UsageConfig struct {
	Store     config.Store
	Telemetry config.Telemetry
	Engine    EngineCommand
	Logger    *slog.Logger
}

// Usage returns what the teams' telemetry takes: from a running server, or
// from engines of its own where none runs.
func Usage(ctx context.Context, c UsageConfig, teams []org.Team) ([]SignalUsage, error) {
	server, ok, err := attach(ctx, &c.Store)
	if err != nil {
		return nil, err
	}
	if ok {
		defer server.close()
		return server.usage(ctx)
	}
	store, err := openTelemetry(ctx, telemetryConfig{store: &c.Store, options: &c.Telemetry, command: c.Engine, log: c.Logger, keep: true})
	if err != nil {
		return nil, err
	}
	end := func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), engineFinish)
		defer cancel()
		return store.close(ctx)
	}
	start, cancel := context.WithTimeout(ctx, engineStart)
	defer cancel()
	if err := store.waitReady(start); err != nil {
		return nil, errors.Join(err, end())
	}
	all, err := store.usage(ctx, teams)
	return all, errors.Join(err, end())
}

func (t *telemetryStore) usage(ctx context.Context, teams []org.Team) ([]SignalUsage, error) {
	metrics, err := t.metrics.usage()
	if err != nil {
		return nil, err
	}
	all := make([]SignalUsage, 0, 3*len(teams))
	for _, team := range teams {
		for _, e := range []struct {
			*engines
			signal string
		}{{t.logs, "logs"}, {t.spans, "spans"}} {
			rows, bytes, err := e.of(team.Tenant).client.Usage(ctx, team.Tenant)
			if err != nil {
				return nil, fmt.Errorf("usage of team %s: %w", team.Slug, err)
			}
			all = append(all, SignalUsage{Tenant: team.Tenant, Signal: e.signal, Rows: rows, Bytes: bytes})
		}
		u := SignalUsage{Tenant: team.Tenant, Signal: "metrics"}
		for _, m := range metrics {
			if m.Tenant == team.Tenant {
				u.Series, u.Bytes = int64(m.Series), m.Bytes
			}
		}
		all = append(all, u)
	}
	return all, nil
}

// answerUsage answers a command with the usage of all teams.
func (s *Server) answerUsage(w http.ResponseWriter, r *http.Request) {
	teams, err := s.directory.Teams(r.Context())
	var all []SignalUsage
	if err == nil {
		all, err = s.telemetry.usage(r.Context(), teams)
	}
	if err != nil {
		answerInlet(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(all)
}

func (i *inletClient) usage(ctx context.Context) (all []SignalUsage, err error) {
	text, err := i.get(ctx, inletUsage)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("read the server's answer of %s bytes: %w", strconv.Itoa(len(text)), err)
	}
	return all, nil
}
