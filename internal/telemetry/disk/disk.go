// Package disk watches how much room the telemetry's disk has, so that new
// data is refused while there is still enough for everything else: the store
// of people and tokens lives on the same disk.
package disk

import (
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/orielhq/oriel/internal/telemetry"
)

const (
	// every is how old an answer about free space may be.
	every = 250 * time.Millisecond
	// retry is when a sender may try again.
	retry = 30 * time.Second
)

// A Watermark refuses new data while a folder's disk has less than a minimum
// of free space. It is safe for concurrent use.
type Watermark struct {
	dir     string
	minFree uint64
	log     *slog.Logger
	free    func(dir string) (uint64, error)

	mu      sync.Mutex // guards the rest
	checked time.Time
	low     error
}

// New returns a watermark for the disk that holds dir, which must exist.
func New(dir string, minFreeBytes int64, log *slog.Logger) *Watermark {
	return &Watermark{dir: dir, minFree: uint64(max(0, minFreeBytes)), log: log, free: Free}
}

// Free returns how many bytes a process of this user may still write to the
// disk that holds dir.
func Free(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("look at the free space of the disk: %w", err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// Check returns nil while there is room, else an *telemetry.OverloadError.
// Where free space cannot be read it returns nil: then writing decides.
func (w *Watermark) Check() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); now.Sub(w.checked) < every {
		return w.low
	} else {
		w.checked = now
	}
	was := w.low
	free, err := w.free(w.dir)
	switch {
	case err != nil:
		w.low = nil
		w.log.Warn("the free space of the telemetry's disk is not known", "err", err)
	case free < w.minFree:
		w.low = &telemetry.OverloadError{
			Reason: fmt.Sprintf("the telemetry disk is nearly full: %s are free and %s must stay free (--telemetry-min-free-disk); no new data is taken until there is room",
				humanize.IBytes(free), humanize.IBytes(w.minFree)),
			RetryAfter: retry,
		}
	default:
		w.low = nil
	}
	if was == nil && w.low != nil {
		w.log.Error("new telemetry is refused", "reason", w.low)
	}
	if was != nil && w.low == nil {
		w.log.Info("new telemetry is taken again")
	}
	return w.low
}
