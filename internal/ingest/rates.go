package ingest

import (
	"slices"
	"sync"
	"time"
)

// maySend says whether the key's signals allow one.
func (k Key) maySend(sig signal) bool {
	if len(k.Signals) == 0 {
		return true
	}
	switch sig {
	case signalLogs:
		return slices.Contains(k.Signals, "logs")
	case signalSpans:
		return slices.Contains(k.Signals, "spans")
	case signalMetrics:
		return slices.Contains(k.Signals, "metrics")
	}
	return false
}

const (
	// rateBurst is how long a key may save up what it does not send.
	rateBurst = 10 * time.Second
	// maxRates bounds the keys that are remembered; forgetting one gives it
	// its burst again.
	maxRates = 10_000
)

// rates hold keys to their bytes a second. How large a request is, is known
// only when it was read: one that makes debts is taken, and those after it
// wait until they are paid.
type rates struct {
	mu   sync.Mutex // guards keys
	keys map[string]*balance
}

// balance is how many bytes a key had left at a time.
type balance struct {
	bytes float64
	at    time.Time
}

// wait returns how long the key must wait, 0 where it may send.
func (r *rates) wait(k Key, now time.Time) time.Duration {
	if k.BytesPerSecond <= 0 {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.current(k, now)
	if b.bytes > 0 {
		return 0
	}
	return max(time.Second, time.Duration(-b.bytes/float64(k.BytesPerSecond)*float64(time.Second)))
}

func (r *rates) spend(k Key, now time.Time, bytes int) {
	if k.BytesPerSecond <= 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current(k, now).bytes -= float64(bytes)
}

func (r *rates) current(k Key, now time.Time) *balance {
	full := float64(k.BytesPerSecond) * rateBurst.Seconds()
	b := r.keys[k.ID]
	if b == nil {
		if r.keys == nil || len(r.keys) >= maxRates {
			r.keys = make(map[string]*balance)
		}
		b = &balance{bytes: full, at: now}
		r.keys[k.ID] = b
	}
	if elapsed := now.Sub(b.at); elapsed > 0 {
		b.bytes = min(full, b.bytes+elapsed.Seconds()*float64(k.BytesPerSecond))
		b.at = now
	}
	return b
}
