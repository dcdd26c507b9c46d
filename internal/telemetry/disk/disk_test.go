package disk

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

func TestWatermark(t *testing.T) {
	w := New(t.TempDir(), 1<<20, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err := w.Check(); err != nil {
		t.Fatalf("this machine's disk: %v", err)
	}
	free := uint64(1<<20 - 1)
	w.free = func(string) (uint64, error) { return free, nil }
	w.checked = time.Time{}
	err := w.Check()
	o, ok := errors.AsType[*telemetry.OverloadError](err)
	if !ok || o.RetryAfter <= 0 || !strings.Contains(o.Reason, "1.0 MiB must stay free") {
		t.Fatalf("a disk below the mark: %v", err)
	}
	if strings.Contains(o.Reason, w.dir) {
		t.Error("the reason names a path")
	}
	free++
	if w.Check() == nil {
		t.Error("an answer is not kept")
	}
	w.checked = time.Time{}
	if err := w.Check(); err != nil {
		t.Errorf("a disk at the mark: %v", err)
	}
	w.free, w.checked = func(string) (uint64, error) { return 0, errors.New("x") }, time.Time{}
	if err := w.Check(); err != nil {
		t.Errorf("unknown: %v", err)
	}
}
