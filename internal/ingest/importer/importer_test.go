package importer

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/orielhq/oriel/internal/telemetry"
)

type recorder struct {
	records []telemetry.LogRecord
	batches []int
	failAt  int // the batch that fails, counted from 1; 0 for none
}

func (w *recorder) WriteLogs(_ context.Context, tenant telemetry.TenantID, batch []telemetry.LogRecord) error {
	if tenant != 7 {
		return fmt.Errorf("tenant %d", tenant)
	}
	w.batches = append(w.batches, len(batch))
	if len(w.batches) == w.failAt {
		return telemetry.ErrUnavailable
	}
	w.records = append(w.records, batch...)
	return nil
}

var (
	update  = flag.Bool("update", false, "rewrite golden files")
	testNow = time.Date(2018, 6, 1, 12, 0, 0, 0, time.UTC)
)

func options(w telemetry.Writer) Options {
	return Options{
		Open:   func(context.Context, bool) (Writers, error) { return Writers{Logs: w}, nil },
		Tenant: 7, Now: func() time.Time { return testNow },
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestImportSummary(t *testing.T) {
	t.Chdir("../logfile/testdata")
	o := options(&recorder{})
	o.Retention.Logs = 90*24*time.Hour + 2*time.Hour - time.Second // its edge lies within the files
	sum, err := Import(t.Context(), []string{"java.log", "mixed.jsonl", "none.log", "syslog.log"}, o)
	if err != nil {
		t.Fatal(err)
	}
	if tot := sum.Total; tot.Records != tot.Stored+tot.TooOld+tot.TooNew || tot.TooOld == 0 {
		t.Errorf("counts do not add up: %+v", tot)
	}
	text := sum.String()
	o.Retention.Logs, o.ShiftToNow = 0, true
	if sum, err = Import(t.Context(), []string{"apache.log"}, o); err != nil {
		t.Fatal(err)
	}
	b, err := json.MarshalIndent(sum, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir("../../importer")
	golden(t, "summary.golden", []byte(text+"\n"+sum.String()+"\n"+string(b)+"\n"))
}

func TestImportKeepsEqualRecords(t *testing.T) {
	const n = 2500
	file := write(t, "same.log", strings.Repeat("2018-03-03 10:00:00 same\n", n))
	w := &recorder{}
	sum, err := Import(t.Context(), []string{file}, options(w))
	if err != nil {
		t.Fatal(err)
	}
	if len(w.records) != n || sum.Total.Stored != n || fmt.Sprint(w.batches) != "[1000 1000 500]" {
		t.Errorf("stored %d, summary %d, batches %v", len(w.records), sum.Total.Stored, w.batches)
	}
}

func TestImportShiftToNow(t *testing.T) {
	// The last line is not the latest, and one has no time of its own.
	file := write(t, "a.log", "2005-12-04 04:00:00 a\n2005-12-04 05:00:00 b\n2005-12-04 04:30:00 c\n trace\n")
	w := &recorder{}
	o := options(w)
	o.ShiftToNow, o.Retention.Logs = true, time.Hour
	sum, err := Import(t.Context(), []string{file}, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(w.records) != 3 || sum.Total.TooOld != 0 {
		t.Fatalf("records %+v, summary %+v", w.records, sum.Total)
	}
	for i, ago := range []time.Duration{time.Hour, 0, 30 * time.Minute} {
		if got := testNow.Sub(w.records[i].Time); got != ago {
			t.Errorf("record %d lies %s before now, want %s", i, got, ago)
		}
	}
}

func TestImportCountsTooNew(t *testing.T) {
	file := write(t, "a.log", "2018-06-01 10:00:00 a\n2018-06-03 11:59:59 b\n2018-06-03 12:00:01 c\n2030-01-01 00:00:00 d\n")
	w := &recorder{}
	sum, err := Import(t.Context(), []string{file}, options(w))
	if err != nil {
		t.Fatal(err)
	}
	f := sum.Files[0]
	if f.Stored != 2 || f.TooNew != 2 || f.TooNewTimes.Last.Year() != 2030 {
		t.Errorf("summary %+v", f)
	}
}

func TestImportStdin(t *testing.T) {
	w := &recorder{}
	o := options(w)
	o.TempDir = t.TempDir()
	o.Stdin = strings.NewReader("Dec 31 10:00:00 h p: a\nJan  1 10:00:00 h p: b\n")
	o.Service = "shop"
	if _, err := Import(t.Context(), []string{"-"}, o); err != nil {
		t.Fatal(err)
	}
	if len(w.records) != 2 || w.records[0].Time.Year() != 2017 || len(w.records[0].Resource) != 1 || w.records[0].Resource[0].Value != "shop" {
		t.Errorf("records %+v", w.records)
	}
	if left, err := os.ReadDir(o.TempDir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestImportProgress(t *testing.T) {
	file := write(t, "a.log", strings.Repeat("2018-03-03 10:00:00 a line of some length\n", 20_000))
	var calls int
	var done, total int64
	o := options(&recorder{})
	o.Progress = func(d, n int64) {
		if d < done || d > n {
			t.Errorf("progress went from %d to %d of %d", done, d, n)
		}
		calls, done, total = calls+1, d, n
	}
	if _, err := Import(t.Context(), []string{file, file}, o); err != nil {
		t.Fatal(err)
	}
	if calls < 10 || done != total || total != 2*20_000*42 {
		t.Errorf("%d calls, %d of %d", calls, done, total)
	}
}

func TestImportErrors(t *testing.T) {
	good := write(t, "a.log", strings.Repeat("2018-03-03 10:00:00 a\n", 2500))
	t.Run("missing file stores nothing", func(t *testing.T) {
		w := &recorder{}
		if _, err := Import(t.Context(), []string{good, good + ".none"}, options(w)); !errors.Is(err, os.ErrNotExist) || len(w.records) != 0 {
			t.Errorf("error %v, %d records", err, len(w.records))
		}
	})
	t.Run("folder", func(t *testing.T) {
		if _, err := Import(t.Context(), []string{t.TempDir()}, options(&recorder{})); err == nil {
			t.Error("no error")
		}
	})
	t.Run("store fails", func(t *testing.T) {
		w := &recorder{failAt: 3}
		sum, err := Import(t.Context(), []string{good}, options(w))
		if !errors.Is(err, telemetry.ErrUnavailable) || sum.Total.Stored != 2000 || sum.Total.Records != 2500 {
			t.Errorf("error %v, summary %+v", err, sum.Total)
		}
		if !strings.Contains(sum.String(), "500 records, because the import ended early") {
			t.Errorf("summary %s", sum)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Import(ctx, []string{good}, options(&recorder{})); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("unknown format", func(t *testing.T) {
		o := options(&recorder{})
		o.Format = "xml"
		if _, err := Import(t.Context(), []string{good}, o); err == nil || !strings.Contains(err.Error(), "auto, plain, jsonl") {
			t.Errorf("error %v", err)
		}
	})
}
