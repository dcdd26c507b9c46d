package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/orielhq/oriel/test/incident/shop"
)

// What is written can be read as OTLP JSON, a line for each minute, and holds
// one team alone.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	if err := run(t.Context(), options{out: dir, end: "2026-11-23T12:00:00Z", config: shop.Config{Seed: 1, Requests: 4}}); err != nil {
		t.Fatal(err)
	}
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	var truth shop.Truth
	if err := json.Unmarshal(read("truth.json"), &truth); err != nil || len(truth.Faults) != 8 || len(truth.Distractors) != 3 {
		t.Errorf("truth.json: %+v, %v", truth, err)
	}
	for _, team := range truth.Teams {
		counts := make(map[string]int)
		for signal, count := range map[string]func([]byte) (int, error){
			"logs": func(line []byte) (int, error) {
				v, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(line)
				for _, r := range v.ResourceLogs().All() {
					if of, _ := r.Resource().Attributes().Get("service.namespace"); of.Str() != team {
						t.Errorf("%s has records of %s", team, of.Str())
					}
				}
				return v.LogRecordCount(), err
			},
			"traces": func(line []byte) (int, error) {
				v, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(line)
				return v.SpanCount(), err
			},
			"metrics": func(line []byte) (int, error) {
				v, err := (&pmetric.JSONUnmarshaler{}).UnmarshalMetrics(line)
				return v.DataPointCount(), err
			},
		} {
			lines := 0
			for line := range bytes.Lines(read(team + "-" + signal + ".json")) {
				n, err := count(line)
				if err != nil {
					t.Fatalf("%s of %s: %v", signal, team, err)
				}
				lines++
				counts[signal] += n
			}
			if lines != shop.DefaultMinutes || counts[signal] < 100 {
				t.Errorf("%s of %s: %d lines with %d", signal, team, lines, counts[signal])
			}
		}
	}
	if err := run(t.Context(), options{}); err == nil {
		t.Error("nothing says where to")
	}
	if err := run(t.Context(), options{url: "http://127.0.0.1:1"}); err == nil {
		t.Error("sent without a key")
	}
}
