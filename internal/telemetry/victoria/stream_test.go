package victoria

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

// What can be counted can be read, from the first moment: the engine leaves out
// rows of new streams whose names it has to say and does not know yet.
func TestNewStreamsAreWhole(t *testing.T) {
	c, tenant := engine(t)
	view := whole(tenant)
	q := lastHour("")
	q.Limit = 10_000
	written := 0
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := range 100 { // two seconds
		var batch []telemetry.LogRecord
		for n := range 10 {
			batch = append(batch, telemetry.LogRecord{
				Time: time.Now(), Message: fmt.Sprintf("row %d", n), Resource: []telemetry.Field{{Name: telemetry.FieldService, Value: fmt.Sprintf("service-%d-%d", i, n)}},
			})
		}
		if err := c.WriteLogs(t.Context(), tenant, batch); err != nil {
			t.Fatal(err)
		}
		written += len(batch)
		<-tick.C
		q.Text = "* | stats count(_time) as n"
		counted, err := c.QueryLogs(t.Context(), view, q, telemetry.Budget{})
		if err != nil {
			t.Fatal(err)
		}
		q.Text = "*"
		read, err := c.QueryLogs(t.Context(), view, q, telemetry.Budget{})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := strconv.Atoi(counted.Rows[0].Get("n")); err != nil || n > len(read.Rows) {
			t.Fatalf("%d rows read, %d counted before, %d written", len(read.Rows), n, written)
		}
	}
}
