package org

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/orielhq/oriel/internal/telemetry"
)

// KeyLimits narrow an ingest key. The zero value lets it send everything.
type KeyLimits struct {
	// Signals are what it may send, of Signals(); none is all.
	Signals []string
	// BytesPerSecond bounds what it sends, decompressed; 0 is no bound.
	BytesPerSecond int64
}

// Signals lists what telemetry there is.
func Signals() []string { return []string{"logs", "spans", "metrics"} }

// ErrKeyLimits is returned for limits that make no sense.
var ErrKeyLimits = errors.New("these limits of an ingest key make no sense")

func (l *KeyLimits) check() error {
	for _, s := range l.Signals {
		if !slices.Contains(Signals(), s) {
			return fmt.Errorf("%w: %q is not one of %s", ErrKeyLimits, s, strings.Join(Signals(), ", "))
		}
	}
	if l.BytesPerSecond < 0 {
		return fmt.Errorf("%w: a rate is not negative", ErrKeyLimits)
	}
	l.Signals = slices.Compact(slices.Sorted(slices.Values(l.Signals)))
	return nil
}

// A KeyUse is what a working ingest key is good for. Its zero value is good
// for nothing.
type KeyUse struct {
	ID     KeyID
	Tenant telemetry.TenantID
	KeyLimits
}
