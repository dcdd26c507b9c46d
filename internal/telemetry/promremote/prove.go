package promremote

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"

	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/prom"
)

const (
	proofName = "oriel_proof"
	// proofAge is the age of the old series: younger than what servers refuse
	// as too old, and older than how far an instant looks back.
	proofAge = 20 * time.Minute
	// proofWait bounds how long a server may take to show what it took.
	proofWait = 30 * time.Second
	// proofPace is how often it is asked.
	proofPace = 200 * time.Millisecond
)

// proofSeries is what is written to each tenant.
var proofSeries = []struct {
	service, hidden string
	age             time.Duration
}{{"seen", "", 0}, {"scoped", "", 0}, {"hidden", "yes", 0}, {"old", "", proofAge}}

// Prove writes series of its own for two reserved tenants and reads them back:
// the server must keep tenants, data scopes, hidden labels and look-backs
// apart before anybody may ask it. The error wraps telemetry.ErrUnavailable
// where the server cannot be reached or does not answer, else it says why the
// server must not be used.
func (s *Store) Prove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, proofWait)
	defer cancel()
	err := s.prove(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("prove the metrics' server: %w: it does not show in time what it took", telemetry.ErrUnavailable)
	}
	if errors.Is(err, errForeign) {
		return errShows{"its answers", "another tenant's series"}
	}
	if err != nil {
		return fmt.Errorf("prove the metrics' server: %w", err)
	}
	return nil
}

func (s *Store) prove(ctx context.Context) error {
	// Every run has marks of its own: others may be proving as well.
	run, now := rand.Text(), s.cfg.Now()
	marks := []string{"a" + run, "b" + run}
	for second, mark := range marks {
		tenant := telemetry.ProofTenant(second)
		payload, err := s.proofPayload(tenant, mark, now)
		if err != nil {
			return err
		}
		if _, err := s.Deliver(ctx, tenant, payload); err != nil {
			return err
		}
	}
	scope, err := telemetry.ParseFilter("service.name != scoped")
	if err != nil {
		return fmt.Errorf("parse the proof's filter: %w", err)
	}
	either, err := telemetry.ParseFilter("service.name = seen or service.namespace = none")
	if err != nil {
		return fmt.Errorf("parse the proof's filter: %w", err)
	}
	for second, mark := range marks {
		all := []string{"hidden", "old", "scoped", "seen"}
		// First until everything has arrived, so that what is missing below is
		// missing on purpose.
		for _, c := range []struct {
			what string
			r    telemetry.Restriction
			want []string
		}{
			{"the tenant's own series", telemetry.Restriction{}, all},
			{"the data scope", telemetry.Restriction{Filter: scope}, []string{"hidden", "old", "seen"}},
			{"a data scope of alternatives", telemetry.Restriction{Filter: either}, []string{"seen"}},
			{"the hidden label", telemetry.Restriction{Hidden: []string{"secret"}}, []string{"old", "scoped", "seen"}},
			{"the look-back", telemetry.Restriction{LookBack: proofAge / 2}, []string{"hidden", "scoped", "seen"}},
		} {
			view := telemetry.ProofView(second, c.r)
			if err := s.proveView(ctx, view, mark, run, now, c.want); err != nil {
				return fmt.Errorf("%s: %w", c.what, err)
			}
		}
	}
	return nil
}

// proveView asks in every way until the wanted series are there. One that is
// not wanted is the end at once.
func (s *Store) proveView(ctx context.Context, view telemetry.View, mark, run string, now time.Time, want []string) error {
	tick := time.NewTicker(proofPace)
	defer tick.Stop()
	for {
		missing, err := s.lookAt(ctx, view, mark, run, now, want)
		if err != nil || !missing {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// errShows is why a server is refused.
type errShows struct{ way, what string }

func (e errShows) Error() string {
	return fmt.Sprintf("the server shows by %s what must not be seen (%s); it must not be used", e.way, e.what)
}

// lookAt asks once. The selector leaves the tenant open, so that a series of
// the other one would be found.
func (s *Store) lookAt(ctx context.Context, view telemetry.View, mark, run string, now time.Time, want []string) (missing bool, err error) {
	selector := fmt.Sprintf(`%s{mark=~".%s"}`, proofName, run)
	b := telemetry.Budget{Rows: 1000, Time: proofWait}
	q := telemetry.SeriesQuery{Selectors: []string{selector}, Start: now.Add(-2 * proofAge), End: now.Add(time.Minute)}
	answers := make(map[string][][]telemetry.Field)
	if answers["series"], _, err = s.Series(ctx, view, q, b); err != nil {
		return false, err
	}
	for way, expr := range map[string]string{
		"instant": fmt.Sprintf(`last_over_time(%s[%ds])`, selector, int(2*proofAge/time.Second)),
		"range":   fmt.Sprintf(`max_over_time(%s[%ds])`, selector, int(2*proofAge/time.Second)),
		"sum":     fmt.Sprintf(`sum by (mark, service_name, secret) (last_over_time(%s[%ds]))`, selector, int(2*proofAge/time.Second)),
	} {
		of := telemetry.MetricQuery{Expr: expr, Start: now, End: now}
		if way == "range" {
			of.Start, of.Step = now.Add(-time.Second), time.Second
		}
		r, err := s.QueryMetrics(ctx, view, of, b)
		if err != nil {
			return false, err
		}
		for _, one := range r.Series {
			answers[way] = append(answers[way], one.Labels)
		}
	}
	for _, way := range []string{"series", "instant", "range", "sum"} {
		seen := make(map[string]bool)
		for _, fields := range answers[way] {
			l := make(map[string]string)
			for _, f := range fields {
				l[f.Name] = f.Value
			}
			service := l["service_name"]
			switch {
			case l["mark"] != mark:
				return false, errShows{way, "a series of another tenant"}
			case !slices.Contains(want, service):
				return false, errShows{way, "the series " + service}
			}
			seen[service] = true
		}
		missing = missing || len(seen) < len(want)
	}
	for name, ofLabel := range map[string]string{"mark": mark, "service_name": ""} {
		values, _, err := s.LabelValues(ctx, view, name, q, b)
		if err != nil {
			return false, err
		}
		for _, v := range values {
			if ofLabel != "" && v != ofLabel || ofLabel == "" && !slices.Contains(want, v) {
				return false, errShows{"values of a label", v}
			}
		}
	}
	return missing, nil
}

func (s *Store) proofPayload(tenant telemetry.TenantID, mark string, now time.Time) ([]byte, error) {
	var req prompb.WriteRequest
	for _, one := range proofSeries {
		l := map[string]string{telemetry.MetricName: proofName, "mark": mark, "service_name": one.service}
		if one.hidden != "" {
			l["secret_part"] = one.hidden
		}
		req.Timeseries = append(req.Timeseries, prompb.TimeSeries{
			Labels: prompb.FromLabels(labels.FromMap(l), nil), Samples: []prompb.Sample{{Timestamp: now.Add(-one.age).UnixMilli(), Value: 1}},
		})
	}
	data, err := req.Marshal()
	if err != nil {
		return nil, fmt.Errorf("write the proof: %w", err)
	}
	// As any sender's: through the same conversion.
	c := s.collector(tenant)
	if _, _, err := prom.ConvertRemote(context.Background(), 1, data, now, c); err != nil {
		return nil, fmt.Errorf("write the proof: %w", err)
	}
	return c.payload()
}
