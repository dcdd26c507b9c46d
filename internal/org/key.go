package org

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"strings"
	"time"
)

// KeyID identifies an ingest key.
type KeyID string

// IngestKey lets its holder send telemetry into one team. The key itself is
// shown once and kept only as its hash.
type IngestKey struct {
	ID        KeyID
	Team      TeamID
	Name      string
	CreatedAt time.Time
	// RevokedAt is zero for a key that works.
	RevokedAt time.Time
	Limits    KeyLimits
}

// KeySecret is an ingest key as its holder presents it. It prints as nothing.
type KeySecret string

// keyPrefix makes a leaked key recognisable to secret scanners.
const keyPrefix = "orl_ingest_"

func newKeySecret() KeySecret { return KeySecret(keyPrefix + rand.Text() + rand.Text()) }

// Hash returns what the store keeps of the key.
func (k KeySecret) Hash() string {
	sum := sha256.Sum256([]byte(k))
	return hex.EncodeToString(sum[:])
}

// WellFormed says whether k looks like a key of ours, so that junk costs no
// look-up.
func (k KeySecret) WellFormed() bool {
	return strings.HasPrefix(string(k), keyPrefix) && len(k) == len(keyPrefix)+52
}

// String hides the key from logs and formatted output.
func (KeySecret) String() string { return "[ingest key]" }

// LogValue hides the key from structured logs.
func (KeySecret) LogValue() slog.Value { return slog.StringValue("[ingest key]") }

// Reveal returns the key itself, for the one time that it is shown.
func (k KeySecret) Reveal() string { return string(k) }
