package victoria

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

// Usage returns how many rows a tenant has and how many bytes they take on
// disk, without what the engine's index takes. What was written in the last
// seconds may be missing.
func (c *Client) Usage(ctx context.Context, tenant telemetry.TenantID) (rows, bytes int64, err error) {
	now := c.now()
	r := request{
		tenant: tenant, now: now, start: time.Unix(0, 0), end: now.Add(FutureRetention),
		limit: 1, bytes: defaultBytes, timeout: DefaultQueryTimeout, keep: decodeLog,
	}
	// Pipes that the guard refuses: they know no data scope.
	r.text = "* | stats count(_time) as n"
	if rows, err = c.number(ctx, r); err != nil {
		return 0, 0, fmt.Errorf("count rows: %w", err)
	}
	if rows == 0 {
		return 0, 0, nil
	}
	r.text = "* | block_stats | math values_bytes + bloom_bytes + dict_bytes as b | stats sum(b) as n"
	if bytes, err = c.number(ctx, r); err != nil {
		return 0, 0, fmt.Errorf("add up blocks: %w", err)
	}
	return rows, bytes, nil
}

// number asks for the field n of the only row, 0 where there is none.
func (c *Client) number(ctx context.Context, r request) (int64, error) {
	found, _, err := c.run(ctx, r)
	if err != nil || len(found) == 0 {
		return 0, err
	}
	n, err := strconv.ParseFloat(found[0].Get("n"), 64)
	if err != nil {
		return 0, fmt.Errorf("the engine answers no number: %w", err)
	}
	return int64(n), nil
}
