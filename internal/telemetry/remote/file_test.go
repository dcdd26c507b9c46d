package remote

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "engines.yaml")
	text := "logs: {url: 'https://select:9471/vl', write_url: 'https://insert:9481', timeout: 10s}\nteams:\n  shop:\n    traces: {url: 'http://traces:1'}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if f.Logs.URL != "https://select:9471/vl" || f.Logs.WriteURL != "https://insert:9481" || f.Logs.Timeout != 10*time.Second || f.Traces != nil {
		t.Errorf("logs: %+v", f.Logs)
	}
	if own := f.Teams["shop"].Traces; own == nil || own.WriteURL != "http://traces:1" || own.Timeout != DefaultTimeout {
		t.Errorf("traces of shop: %+v", own)
	}
	if _, err := Read(path + ".no"); err == nil {
		t.Error("a file that is not there")
	}
}

func TestReadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":      "it is empty",
		"logs:": "names no engine",
		"logs: {url: https://a}\n---\nlogs: {url: https://b}":                            "more than one document",
		"logs: {url: https://a, rl: x}":                                                  "line 1: field rl not found; the keys are url",
		"metrics: {url: https://a}":                                                      "server \"\": write one of prometheus",
		"metrics: {url: https://a, server: mimir, tenant: x}":                            "field tenant not found; the keys are url",
		"metrics: {url: a, server: thanos, tenant_label: t}":                             "metrics: url must be",
		"metric: {url: https://a}":                                                       "the keys are logs, traces, metrics and teams",
		"logs: https://a":                                                                "written {url:",
		"logs: {url: https://a, timeout: soon}":                                          "a duration such as 30s",
		"logs: {url: https://a, timeout: 1ms}":                                           "from 1s to 5m0s",
		"logs: {url: a:9428}":                                                            "must be http:// or https://",
		"logs: {write_url: https://a}":                                                   "url must be",
		"logs: {url: https://ann:secret@a}":                                              "authorization_file",
		"logs: {url: 'https://a/?x=1'}":                                                  "without ? or #",
		"logs: {url: https://a, cert_file: x}":                                           "go together",
		"teams: {shop: {}}":                                                              "teams: shop: it names no engine",
		"teams: {shop: {logs: {}}}":                                                      "teams: shop: logs: url must be",
		"logs: {url: https://a}\ntraces: {url: https://a}":                               "mix records and spans",
		"logs: {url: https://a}\nteams: {shop: {traces: {url: 'https://a'}}}":            "mix records and spans",
		"logs: {url: https://a, write_url: https://b}\ntraces: {url: https://b}":         "mix records and spans",
		"logs: {url: https://a}\nteams: {shop: {logs: {url: 'https://a', timeout: 9s}}}": "named twice",
		"logs: [":                          "line 1",
		"logs: {url: https://a}\nlogs: {}": "line 2",
	} {
		_, err := parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error repeats a password: %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"logs: {url: https://a}", "teams: {shop: {logs: {url: 'http://b', timeout: 3s}}}", "logs: &a {url: *a}", "{", "- x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := parse(text)
		if err != nil {
			return
		}
		for _, e := range []*Endpoint{file.Logs, file.Traces} {
			if e != nil && (!strings.HasPrefix(e.URL, "http") || e.WriteURL == "" || e.Timeout < minTimeout) {
				t.Errorf("%q is read as %+v", text, e)
			}
		}
	})
}
