package config

import (
	"errors"
	"fmt"
	"math"

	"github.com/dustin/go-humanize"
)

const (
	defaultMinFreeDisk = 1 << 30
	defaultSpoolSize   = 2 << 30
	// minSpoolSize is below what a spool needs to go on while its oldest
	// part is being written.
	minSpoolSize = 128 << 20
)

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
