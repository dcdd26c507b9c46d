package telemetry

import (
	"errors"
	"time"
)

// ErrRefused is returned for records that an engine will never take, whatever
// its state: sending them again does not help.
var ErrRefused = errors.New("the telemetry engine cannot read the records")

// An OverloadError is returned for data that cannot be taken now and may be
// sent again later: storage is full or behind. Nothing of it was stored.
type OverloadError struct {
	// Reason is one sentence for the sender; it names no paths.
	Reason string
	// RetryAfter is when trying again may help.
	RetryAfter time.Duration
}

func (e *OverloadError) Error() string { return e.Reason }
