package config

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/dustin/go-humanize"
)

const (
	defaultMinFreeDisk = 1 << 30
	defaultSpoolSize   = 2 << 30
	// minSpoolSize is below what a spool needs to go on while its oldest
	// part is being written.
	minSpoolSize = 128 << 20
)

// Retention says how long the signals are kept that have a retention of
// their own; 0 is --telemetry-retention.
type Retention struct {
	Traces  time.Duration `name:"traces-retention" help:"How long spans are kept; whole days. Default: as --telemetry-retention." env:"ORIEL_TRACES_RETENTION" placeholder:"TIME"`
	Metrics time.Duration `name:"metrics-retention" help:"How long metrics are kept. Default: as --telemetry-retention." env:"ORIEL_METRICS_RETENTION" placeholder:"TIME"`
}

func (r *Retention) check() error {
	var errs []error
	if r.Traces != 0 && r.Traces < 24*time.Hour {
		errs = append(errs, fmt.Errorf("--traces-retention %s: spans are kept for whole days, 24h at least", r.Traces))
	}
	if r.Metrics != 0 && r.Metrics < minMetricsRetention {
		errs = append(errs, fmt.Errorf("--metrics-retention %s: metrics are kept for %s at least", r.Metrics, minMetricsRetention))
	}
	return errors.Join(errs...)
}

// minMetricsRetention is one block of the metrics' store.
const minMetricsRetention = 2 * time.Hour

// NoListen is the address that keeps a listener off.
const NoListen = "-"

func (t *Telemetry) checkDisk() error {
	_, err := t.MinFreeBytes()
	_, spoolErr := t.SpoolBytes()
	return errors.Join(err, spoolErr)
}

// MinFreeBytes returns how much of the disk stays free of telemetry.
func (t *Telemetry) MinFreeBytes() (int64, error) {
	return parseSize("--telemetry-min-free-disk", t.MinFreeDisk, defaultMinFreeDisk, 0)
}

// SpoolBytes returns how much may wait for an engine.
func (t *Telemetry) SpoolBytes() (int64, error) {
	return parseSize("--telemetry-spool-size", t.SpoolSize, defaultSpoolSize, minSpoolSize)
}

func parseSize(flag, text string, usual int64, least uint64) (int64, error) {
	if text == "" {
		return usual, nil
	}
	n, err := humanize.ParseBytes(text)
	if err != nil || n < least || n > math.MaxInt64 {
		return 0, fmt.Errorf("%s %q: write it like %s, %s at least", flag, text, humanize.IBytes(uint64(usual)), humanize.IBytes(least))
	}
	return int64(n), nil
}
