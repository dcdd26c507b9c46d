package tools

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

func tableText(rows []telemetry.LogRow) string {
	t := newGrid(rows).layOut(len(rows), maxCellBytes, -1)
	return strings.Join(append(t.head, t.rows...), "\n")
}

// Columns that follow from another one are said once for each of its values,
// where that makes the text shorter, and no row loses anything by it.
func TestLegend(t *testing.T) {
	var rows []telemetry.LogRow
	for i := range 60 {
		pod := fmt.Sprintf("pay-%d", i%3)
		kv := []string{"_msg", fmt.Sprint("row ", i), "k8s.pod.name", pod, "host.name", "host-of-" + pod, "cloud.region", []string{"eu", "eu", "us"}[i%3], "took", fmt.Sprint(i)}
		if i%3 == 1 {
			kv = append(kv, "psp", "acme")
		}
		rows = append(rows, row(at(-time.Duration(i)*time.Second), kv...))
	}
	text := tableText(rows)
	for _, want := range []string{
		"where k8s.pod.name=pay-0: host.name=host-of-pay-0; cloud.region=eu\nwhere k8s.pod.name=pay-1: host.name=host-of-pay-1; cloud.region=eu; psp=acme\nwhere k8s.pod.name=pay-2: host.name=host-of-pay-2; cloud.region=us\n",
		"\ntime\tmessage\tk8s.pod.name\ttook\n", "\trow 59\tpay-2\t59",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%.1500s", want, text)
		}
	}

	// Few rows are read more easily without.
	if text := tableText(rows[:6]); strings.Contains(text, "where ") {
		t.Errorf("a legend for a few rows:\n%s", text)
	}
	// One row that does not fit, and the column stays.
	rows[30].Fields = row(at(0), "_msg", "moved", "k8s.pod.name", "pay-0", "host.name", "elsewhere", "cloud.region", "eu", "took", "1").Fields
	text = tableText(rows)
	if !strings.Contains(text, "\thost.name\t") || !strings.Contains(text, "\tmoved\t") || !strings.Contains(text, "elsewhere") {
		t.Errorf("a column that does not follow is gone:\n%.1500s", text)
	}
	// A value that looks like a line of its own stays in its line.
	for i := range rows {
		rows[i].Fields[1].Value = fmt.Sprintf("a\nwhere x=%d: y", i%2)
		rows[i].Fields[2].Value = fmt.Sprintf("long enough to be worth a legend %d", i%2)
		rows[i].Fields[3].Value = fmt.Sprintf("eu; host.name=forged%d", i%2)
	}
	for _, line := range strings.Split(tableText(rows), "\n") {
		if strings.HasPrefix(line, "where x") || strings.Contains(line, "\n") || strings.Contains(line, "; host.name=forged") && !strings.Contains(line, `"eu; host.name=forged`) {
			t.Errorf("line %q", line)
		}
	}
}
