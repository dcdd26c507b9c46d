package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/testkit"
)

// Below the watermark new telemetry is refused, and everybody is told.
func TestDiskWatermark(t *testing.T) {
	s := testkit.Start(t, func(c *config.Server) { c.Telemetry.MinFreeDisk, c.SelfTeam = "900TiB", "-" })
	s.AddTeam("shop")
	_, secret, err := s.Admin.Directory.AddKey(t.Context(), "shop", "test", audit.System())
	s.Must(err)
	for _, path := range []string{"/v1/logs", "/v1/traces", "/v1/metrics"} {
		res := s.Do(http.MethodPost, path, `{}`, "Authorization", "Bearer "+secret.Reveal(), "Content-Type", "application/json")
		if res.Status != http.StatusTooManyRequests || !strings.Contains(res.Body, "900 TiB must stay free (--telemetry-min-free-disk)") {
			t.Errorf("%s: %d %s", path, res.Status, res.Body)
		}
	}
	res := s.Do(http.MethodGet, "/readyz", "")
	var parts map[string]string
	s.Must(json.Unmarshal([]byte(res.Body), &parts))
	if res.Status != http.StatusServiceUnavailable || !strings.Contains(parts["ingest"], "nearly full") || parts["store"] != "ok" {
		t.Errorf("readyz: %d %s", res.Status, res.Body)
	}
	if res := s.Do(http.MethodGet, "/metrics", ""); !strings.Contains(res.Body, "oriel_telemetry_disk_low 1\n") {
		t.Error("the metrics do not say so")
	}
	if res := s.Do(http.MethodGet, "/login", ""); res.Status != http.StatusOK {
		t.Errorf("sign-in: %d", res.Status)
	}
}
