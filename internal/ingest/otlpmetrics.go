package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"google.golang.org/grpc/codes"

	"github.com/orielhq/oriel/internal/telemetry"
)

// A MetricWriter stores metrics. Implementations are safe for concurrent use.
type MetricWriter interface {
	// WriteOTLP stores the data points, and may change md. rejected counts by
	// reason those that can never be stored. Errors are those of
	// telemetry.Writer.
	WriteOTLP(ctx context.Context, tenant telemetry.TenantID, md pmetric.Metrics) (rejected map[string]int64, err error)
}

var errNoMetrics = errors.New("no writer for metrics")

// takeMetrics is the taker of data points.
func (s *Server) takeMetrics(ctx context.Context, tenant telemetry.TenantID, contentType string, data []byte) (outcome, *failure) {
	if s.metricWriter == nil {
		return outcome{}, refuse(http.StatusNotFound, codes.Unimplemented, errNoMetrics, "this server takes no metrics")
	}
	req := pmetricotlp.NewExportRequest()
	if f := decode(signalMetrics, contentType, data, &req); f != nil {
		return outcome{}, f
	}
	total := int64(req.Metrics().DataPointCount())
	o := outcome{signal: signalMetrics, accepted: total}
	resp := pmetricotlp.NewExportResponse()
	o.response = resp
	if total == 0 {
		return o, nil
	}
	var err error
	if o.rejected, err = s.metricWriter.WriteOTLP(ctx, tenant, req.Metrics()); err != nil {
		return outcome{}, notNow(err)
	}
	var n int64
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(o.rejected)) {
		n += o.rejected[reason]
		parts = append(parts, fmt.Sprintf("%d %s", o.rejected[reason], strings.ReplaceAll(reason, "_", " ")))
	}
	if n = min(n, total); n > 0 { // a histogram is several samples
		o.accepted -= n
		resp.PartialSuccess().SetRejectedDataPoints(n)
		resp.PartialSuccess().SetErrorMessage(fmt.Sprintf("samples of %d data points were rejected: %s", total, strings.Join(parts, "; ")))
	}
	return o, nil
}
