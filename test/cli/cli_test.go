// Package cli holds tests of the administration commands, as scripts that run
// the built program (testdata/*.txt).
//
// Beside the commands of testscript there are:
//
//	oriel args…          runs the program; it must succeed and print nothing on
//	                     standard error
//	refuses CODE args…   runs the program; it must end with the exit code, print
//	                     nothing on standard output and one line on standard error
//	json PATH REGEXP     the last standard output is JSON, and the value at a
//	                     path such as name or 0.email matches the expression
//	json PATH=N          the list at the path, or the whole one, has N elements
//	lines FILE N TEXT    writes N lines of a log as sshd does, each 7th with TEXT
//	recent FILES…        writes telemetry of the last days in the format that the
//	                     file's extension names
package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/orielhq/oriel/test/testenv"
)

func TestCommands(t *testing.T) {
	binary := testenv.Binary(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("ORIEL_DATA_DIR", filepath.Join(env.WorkDir, "data"))
			env.Setenv("PATH", filepath.Dir(binary)+string(os.PathListSeparator)+env.Getenv("PATH"))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"oriel":   func(ts *testscript.TestScript, neg bool, args []string) { succeed(ts, neg, binary, args) },
			"refuses": func(ts *testscript.TestScript, neg bool, args []string) { refuse(ts, neg, binary, args) },
			"json":    checkJSON,
			"lines":   writeLines,
			"recent":  writeRecent,
		},
	})
}

func succeed(ts *testscript.TestScript, neg bool, binary string, args []string) {
	if neg {
		ts.Fatalf("use: refuses CODE args…")
	}
	ts.Check(ts.Exec(binary, args...))
	if message := ts.ReadFile("stderr"); message != "" {
		ts.Fatalf("it succeeds and prints on standard error: %q", message)
	}
}

func refuse(ts *testscript.TestScript, neg bool, binary string, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: refuses CODE args…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(binary, args[1:]...)
	exit, ok := err.(*exec.ExitError)
	switch {
	case err == nil:
		ts.Fatalf("it succeeded")
	case !ok:
		ts.Fatalf("it did not run: %v", err)
	case exit.ExitCode() != want:
		ts.Fatalf("exit code %d, want %d", exit.ExitCode(), want)
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("it refuses and prints on standard output: %q", out)
	}
	message := ts.ReadFile("stderr")
	if n := strings.Count(message, "\n"); n != 1 || !strings.HasPrefix(message, "oriel: ") {
		ts.Fatalf("%d lines on standard error, want one that begins with \"oriel: \"", n)
	}
}

// checkJSON looks at one value of the JSON on the last standard output.
func checkJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: json PATH REGEXP, or json PATH=LENGTH")
	}
	d := json.NewDecoder(bytes.NewReader([]byte(ts.ReadFile("stdout"))))
	d.UseNumber()
	var v any
	ts.Check(d.Decode(&v))
	if d.More() {
		ts.Fatalf("more than one JSON value")
	}
	path, length, isLength := strings.Cut(args[0], "=")
	for step := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			value, ok := in[step]
			if !ok {
				ts.Fatalf("no %q in %v", step, in)
			}
			v = value
		case []any:
			if step == "" {
				continue // the whole list
			}
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(in) {
				ts.Fatalf("no element %q in a list of %d", step, len(in))
			}
			v = in[i]
		default:
			ts.Fatalf("%q inside of %v", step, in)
		}
	}
	if isLength {
		list, ok := v.([]any)
		if !ok || strconv.Itoa(len(list)) != length {
			ts.Fatalf("%v is not a list of %s", v, length)
		}
		return
	}
	if len(args) != 2 {
		ts.Fatalf("usage: json PATH REGEXP")
	}
	if text := fmt.Sprint(v); !regexp.MustCompile("^(?:" + args[1] + ")$").MatchString(text) {
		ts.Fatalf("%s is %q, want %s", args[0], text, args[1])
	}
}

// writeLines writes a log with the given number of lines, a second apart,
// that ends now. Every seventh holds the text.
func writeLines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: lines FILE N TEXT")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	var b strings.Builder
	first := time.Now().UTC().Add(-time.Duration(n) * time.Second)
	for i := range n {
		text := "Connection closed by 192.0.2.7 [preauth]"
		if i%7 == 0 {
			text = args[2]
		}
		fmt.Fprintf(&b, "%s host sshd[%d]: %s\n", first.Add(time.Duration(i)*time.Second).Format(time.Stamp), 20000+i, text)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o600))
}

// writeRecent writes files of telemetry of the last days, one of each format.
func writeRecent(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: recent FILES…")
	}
	for _, name := range args {
		text, ok := recent(time.Now().UTC(), filepath.Ext(name))
		if !ok {
			ts.Fatalf("%s: no such format", name)
		}
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// recent returns telemetry in one of the formats that can be imported.
func recent(now time.Time, format string) (text string, ok bool) {
	at := now.Add(-2 * time.Hour)
	days := func(n int) time.Time { return now.AddDate(0, 0, -n) }
	switch format {
	case ".syslog":
		stamp := at.Format(time.RFC3339Nano)
		return fmt.Sprintf("<34>1 %s gate su 412 ID47 [origin ip=\"192.0.2.1\"] 'su root' failed for anna\n<86>1 %s gate sshd - - - accepted\n<86>1 then gate sshd - - - when\n", stamp, stamp), true
	case ".logfmt":
		return fmt.Sprintf("time=%s level=info msg=\"lamp lit\" room=a\ntime=%s level=error msg=\"lamp out\" room=b\n", at.Format(time.RFC3339), at.Format(time.RFC3339)), true
	case ".otlp":
		const resource = `"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"checkout"}}]}`
		return fmt.Sprintf(`{"resourceLogs":[{%s,"scopeLogs":[{"logRecords":[{"timeUnixNano":"%d","severityNumber":17,"body":{"stringValue":"payment failed"}}]}]}]}
{"resourceLogs":[{"scopeLogs":
{"resourceSpans":[{%s,"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"pay","kind":2,"startTimeUnixNano":"%d","endTimeUnixNano":"%d"}]}]}]}
{"resourceMetrics":[{%s,"scopeMetrics":[{"metrics":[{"name":"queue.depth","gauge":{"dataPoints":[{"timeUnixNano":"%d","asDouble":3}]}}]}]}]}
`, resource, at.UnixNano(), resource, at.UnixNano(), at.UnixNano()+1e9, resource, days(3).UnixNano()), true
	case ".om":
		return fmt.Sprintf(`# HELP requests How many.
# TYPE requests counter
requests_total{path="/"} 1 %d.5
requests_total{path="/"} 2 %d.5 # {trace_id="abc"} 1 %d.25
# TYPE latency_seconds histogram
latency_seconds_bucket{le="1"} 1 %d
latency_seconds_bucket{le="+Inf"} 2 %d
# TYPE up gauge
up{service_name="own"} 1
# EOF
`, days(4).Unix(), days(2).Unix(), days(2).Unix(), days(3).Unix(), days(3).Unix()), true
	case ".prom":
		return fmt.Sprintf("# TYPE temperature gauge\ntemperature{room=\"a\"} 21.5 %d\ntemperature{room=\"a\"} 22 %d\n", days(3).UnixMilli(), days(1).UnixMilli()), true
	}
	return "", false
}
