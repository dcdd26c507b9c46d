package ingest

import (
	"context"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"

	"github.com/orielhq/oriel/internal/telemetry"
)

// takeLogs is the taker of log records.
func (s *Server) takeLogs(ctx context.Context, tenant telemetry.TenantID, contentType string, data []byte) (outcome, *failure) {
	req := plogotlp.NewExportRequest()
	if f := decode(signalLogs, contentType, data, &req); f != nil {
		return outcome{}, f
	}
	c := converter{now: s.now(), retention: s.retention}
	records := c.convert(req.Logs())
	accepted := int64(len(records))
	if accepted > 0 {
		n, err := rejectedBy(s.writer.WriteLogs(ctx, tenant, records), c.rejected)
		if err != nil {
			return outcome{}, notNow(err)
		}
		accepted -= n
	}
	resp := plogotlp.NewExportResponse()
	if n, message := c.rejectedSummary("log records"); n > 0 {
		resp.PartialSuccess().SetRejectedLogRecords(n)
		resp.PartialSuccess().SetErrorMessage(message)
	}
	return outcome{signal: signalLogs, accepted: accepted, rejected: c.rejected, response: resp}, nil
}
