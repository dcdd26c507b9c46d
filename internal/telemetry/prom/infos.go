package prom

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/prometheus/prometheus/model/metadata"

	"github.com/orielhq/oriel/internal/telemetry"
)

const (
	infosName = "oriel-metadata.json"
	// maxInfos bounds the metrics of a tenant that are described.
	maxInfos = 20_000
	// maxHelpBytes bounds a description.
	maxHelpBytes = 1024
)

// said is what a sender said about a metric.
type said struct{ Name, Type, Unit, Help string }

func (s said) info() telemetry.MetricInfo {
	return telemetry.MetricInfo{Name: s.Name, Type: s.Type, Unit: s.Unit, Help: s.Help}
}

// infos is what a tenant's senders said about their metrics, by name. A
// crash may lose the newest; senders say it again.
type infos struct {
	path string

	mu      sync.Mutex // guards the rest
	byName  map[string]said
	changed bool
}

func loadInfos(path string, log *slog.Logger) *infos {
	i := &infos{path: path, byName: make(map[string]said)}
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &i.byName)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("the descriptions of metrics cannot be read", "err", err)
	}
	return i
}

func (i *infos) save() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.changed {
		return nil
	}
	text, err := json.Marshal(i.byName)
	if err == nil {
		err = os.WriteFile(i.path+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(i.path+".new", i.path)
	}
	if err != nil {
		return fmt.Errorf("save the descriptions of metrics: %w", err)
	}
	i.changed = false
	return nil
}

func (i *infos) note(name string, m metadata.Metadata) {
	if name == "" || m.IsEmpty() {
		return
	}
	info := said{Name: name, Type: string(m.Type), Unit: m.Unit, Help: m.Help}
	if len(info.Help) > maxHelpBytes {
		info.Help = strings.ToValidUTF8(info.Help[:maxHelpBytes], "") + "…"
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if old, ok := i.byName[name]; old == info || !ok && len(i.byName) >= maxInfos {
		return
	}
	i.byName[name], i.changed = info, true
}

// get describes the metric that a series of that name belongs to.
func (i *infos) get(series string) telemetry.MetricInfo {
	i.mu.Lock()
	defer i.mu.Unlock()
	if info, ok := i.byName[series]; ok {
		return info.info()
	}
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		if name, ok := strings.CutSuffix(series, suffix); ok {
			if info, ok := i.byName[name]; ok {
				return info.info()
			}
		}
	}
	return telemetry.MetricInfo{Name: series, Type: "unknown"}
}
