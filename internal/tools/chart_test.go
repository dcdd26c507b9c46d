package tools

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

// picture decodes an answer's chart.
func decodeChart(t *testing.T, res Result) image.Image {
	t.Helper()
	if res.IsError || res.Image == nil {
		t.Fatalf("no chart: %s", res.Text)
	}
	img, err := png.Decode(bytes.NewReader(res.Image))
	if err != nil {
		t.Fatal(err)
	}
	if size := img.Bounds().Size(); size.X != 800 {
		t.Errorf("the chart is %v", size)
	}
	if len(res.Image) > 200<<10 {
		t.Errorf("the chart has %d bytes", len(res.Image))
	}
	return img
}

func TestCharts(t *testing.T) {
	e := newEngineBench(t)
	e.writeShop()
	e.sendShop()
	c := e.caller("logs:read metrics:read")
	for _, tt := range []struct{ name, tool, args string }{
		{"rate", "query_metrics", `{"query":"sum by (service_name, status) (rate(http_requests_total[5m]))"`},
		{"quantile", "query_metrics", `{"query":"histogram_quantile(0.95, sum by (le, service_name) (rate(http_duration_seconds_bucket[5m])))"`},
		{"native", "query_metrics", `{"query":"body_size_bytes"`},
		{"one", "query_metrics", `{"query":"max(queue_depth)","start":"now-30m"`},
		{"counts", "aggregate_logs", `{"severity":"error+"`},
		{"groups", "aggregate_logs", `{"group_by":"severity"`},
		{"numbers", "aggregate_logs", `{"group_by":"region","aggregate":"p95","field":"took","step":"5m"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := e.call(c, tt.tool, tt.args+`,"chart":true}`)
			light := decodeChart(t, res)
			dark := e.call(c, tt.tool, tt.args+`,"chart":"true","theme":"dark"}`)
			sum := func(img image.Image) (all uint32) {
				r, g, b, _ := img.At(2, 2).RGBA()
				return r + g + b
			}
			if sum(decodeChart(t, dark)) >= sum(light) {
				t.Error("dark is not darker than light")
			}
			// The text beside it is the same as without.
			args := tt.args
			if tt.tool == "aggregate_logs" && !strings.Contains(args, "step") {
				args += `,"step":"auto"`
			}
			without := e.call(c, tt.tool, args+`}`)
			if without.Image != nil {
				t.Error("a chart that nobody wanted")
			}
			strip := func(s string) string {
				var lines []string
				for line := range strings.Lines(markerPattern.ReplaceAllString(s, "${1}MARKER ---")) {
					if !strings.HasPrefix(line, "# The chart has") {
						lines = append(lines, line)
					}
				}
				return strings.Join(lines, "")
			}
			if strip(res.Text) != strip(without.Text) {
				t.Errorf("with a chart:\n%s\nwithout:\n%s", res.Text, without.Text)
			}
			if *update {
				// To look at: go test -update -run TestCharts -outputdir=…, not kept.
				dir := t.ArtifactDir()
				for theme, data := range map[string][]byte{"light": res.Image, "dark": dark.Image} {
					if err := os.WriteFile(filepath.Join(dir, tt.name+"-"+theme+".png"), data, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				t.Log(dir)
			}
		})
	}
	for _, tt := range []struct{ tool, args, want string }{
		{"query_metrics", `{"query":"nothing","chart":true}`, "# There is no chart of an empty result."},
		{"query_metrics", `{"query":"queue_depth","instant":true,"chart":true}`, "# There is no chart of one instant"},
		{"query_metrics", `{"query":"queue_depth / 0 - queue_depth / 0","chart":true}`, "# There is no chart: there are no values"},
		{"aggregate_logs", `{"query":"nothing_like_it","chart":true}`, "# There is no chart of an empty result."},
	} {
		if res := e.call(c, tt.tool, tt.args); res.IsError || res.Image != nil || !strings.Contains(res.Text, tt.want) {
			t.Errorf("%s: %s", tt.args, res.Text)
		}
	}
	for _, args := range []string{`{"query":"queue_depth","chart":"perhaps"}`, `{"query":"queue_depth","chart":true,"theme":"pink"}`} {
		if res := e.call(c, "query_metrics", args); !res.IsError {
			t.Errorf("%s: %s", args, res.Text)
		}
	}
	// Counts of one aggregate are said to be one of several.
	if res := e.call(c, "aggregate_logs", `{"aggregate":["count","uniq"],"field":"region","chart":true}`); res.Image == nil || !strings.Contains(res.Text, "# The chart has the first aggregate, count.") {
		t.Error(res.Text)
	}
}

func TestChartOfManySeries(t *testing.T) {
	b := newBench(t)
	for i := range 30 {
		s := sendFrom("service.name", "s")
		for j := range 20 {
			s.gauge("many", b.Now().Add(time.Duration(i-30)*time.Minute), float64(i*j), "j", fmt.Sprintf("%02d", j))
		}
		b.send(b.Shop, s)
	}
	res := b.call(b.caller("metrics:read"), "query_metrics", `{"query":"many","chart":true}`)
	decodeChart(t, res)
	if !strings.Contains(res.Text, "# The chart has the first 12 of the 20 rows shown.") {
		t.Error(res.Text)
	}
}

func TestUnitOfAResult(t *testing.T) {
	infos := map[string]telemetry.MetricInfo{
		"d_seconds": {Name: "d", Type: "histogram", Unit: "s"}, "d_bucket": {Name: "d", Type: "histogram", Unit: "s"}, "d_count": {Name: "d", Type: "histogram", Unit: "s"},
		"g": {Name: "g", Type: "gauge", Unit: "By"}, "c_total": {Name: "c_total", Type: "counter", Unit: "By"},
	}
	b := newBench(t)
	for query, want := range map[string]string{
		`g`: "By", `max(g)`: "By", `avg_over_time(g[5m])`: "By", `g / 1024`: "", `count(g)`: "", `count_over_time(g[5m])`: "", `rate(c_total[5m])`: "",
		`increase(c_total[5m])`: "By", `histogram_quantile(0.9, rate(d_bucket[5m]))`: "s", `d_bucket`: "", `d_count`: "", `1`: "", `g + g`: "By", `g - d_seconds`: "",
	} {
		e, err := b.set.CheckMetrics(query)
		b.Must(err)
		if got := (&metricQuery{expr: e, infos: infos}).unit(); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}
