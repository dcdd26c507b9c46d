package victoria

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/victoria/victoriatest"
)

// clusterFunctions are all that may follow stats, of a field F that one storage
// node alone has.
var clusterFunctions = []string{
	"any(F)", "avg(F)", "count()", "count(F)", "count_empty(F)", "count_uniq(F)", "count_uniq(F) limit 5", "count_uniq(F, num)", "count_uniq_hash(F)",
	"field_max(F, num)", "field_min(F, num)", "field_max(num, F)", "histogram(F)", "json_values(F)", "json_values(F) sort by (F)",
	"json_values(F) sort by (F) limit 2", "json_values(F) limit 2", "max(F)", "median(F)", "min(F)", "quantile(0.5, F)", "rate()", "rate_sum(F)", "row_any(F)",
	"row_max(F)", "row_min(F)", "sum(F)", "sum_len(F)", "uniq_values(F)", "uniq_values(F) limit 3", "values(F)", "values(F) limit 3",
}

// No query that passes kills the process of a cluster that answers everybody,
// and an answer that lacks a storage node's rows is an error even where the
// cluster is told to give it.
func TestClusterSurvives(t *testing.T) {
	cluster := victoriatest.StartCluster(t, "-search.allowPartialResponse")
	c, err := NewClient(ClientConfig{URL: cluster.Select.URL, WriteURL: cluster.Insert.URL})
	if err != nil {
		t.Fatal(err)
	}
	var batch []telemetry.LogRecord
	for i := range 60 {
		batch = append(batch, telemetry.LogRecord{
			Time: time.Now().Add(-time.Second * time.Duration(i)), Message: "m", Resource: attrs("service.name", fmt.Sprint("s", i)),
			Attributes: attrs("plain", fmt.Sprint(i%7), "num", fmt.Sprint(i)),
		})
	}
	batch[7].Attributes = append(batch[7].Attributes, attrs("rare", "5")...)
	if err := c.WriteLogs(t.Context(), 1, batch); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask := func(text string) (telemetry.LogResult, error) {
		return c.QueryLogs(t.Context(), whole(1), lastHour(text), telemetry.Budget{})
	}
	for _, function := range clusterFunctions {
		function = strings.ReplaceAll(function, "F", "rare")
		for _, form := range []string{
			"* | stats %s n", "* | stats by (plain) %s n", "* | stats %s if (rare:*) n", "none:x | stats %s n", "* | %s", "* | union (* | stats %s n)",
			"num:in(* | stats by (num) %s n | fields num)", "* | join by (num) (* | stats by (num) %s n | limit 10)",
		} {
			text := fmt.Sprintf(form, function)
			_, err := ask(text)
			_, refused := errors.AsType[*telemetry.QueryError](err)
			if err != nil && !refused {
				t.Fatalf("%s: %v", text, err)
			}
			if strings.Contains(function, uniqValues) && (!refused || !strings.Contains(err.Error(), "uniq by (f)")) {
				t.Errorf("%s: %v, want another way to ask", text, err)
			}
		}
	}
	r, err := ask(`uniq_values | stats count() n`)
	if err != nil || len(r.Rows) != 1 {
		t.Errorf("a search for the word: %v", err)
	}

	if r, err = ask("*"); err != nil || len(r.Rows) != len(batch) {
		t.Errorf("%d rows of %d, %v", len(r.Rows), len(batch), err)
	}
	// What overran is told from an engine that cannot answer.
	res, err := http.PostForm(cluster.Select.URL+"/select/logsql/query", url.Values{"query": {"*"}, "timeout": {"0.000001s"}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusServiceUnavailable || !Overrun(text) {
		t.Errorf("a query that overran: %d %s, %v", res.StatusCode, text, err)
	}
	_ = res.Body.Close()

	if err := cluster.Storage[0].Kill(); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"*", "* | stats count() n", "* | uniq by (num)", "num:in(* | fields num)"} {
		if r, err := ask(text); err == nil {
			t.Errorf("%s with half of the storage: %d rows", text, len(r.Rows))
		}
	}
}
