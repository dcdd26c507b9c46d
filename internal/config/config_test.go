package config_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/grant"
)

// parse reads the settings as the program does: from flags, the environment
// and a settings file ("" for none).
func parse(t *testing.T, file string, args ...string) (*config.Server, error) {
	t.Helper()
	var cli struct {
		Config kong.ConfigFlag
		Serve  config.Server `cmd:""`
		Other  struct {
			Email string
		} `cmd:""`
	}
	p, err := kong.New(&cli, kong.Name("oriel"), kong.Configuration(config.Load), kong.Writers(io.Discard, io.Discard), kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{"serve"}, args...)
	if file != "" {
		path := filepath.Join(t.TempDir(), "oriel.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append([]string{"--config", path}, args...)
	}
	_, err = p.Parse(args)
	return &cli.Serve, err
}

func mustParse(t *testing.T, file string, args ...string) *config.Server {
	t.Helper()
	s, err := parse(t, file, args...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDefaultsAreTheDocumentedOnes(t *testing.T) {
	s := mustParse(t, "")
	if s.Listen != "127.0.0.1:8080" || filepath.Base(s.DataDir) != "oriel-data" || s.Sessions.Disconnect != "hourly" || s.Sessions.Reconnect != "refresh" {
		t.Errorf("defaults: %+v", s)
	}
	if got := s.Lifetimes(); got != grant.DefaultLifetimes() {
		t.Errorf("lifetimes %+v, want %+v", got, grant.DefaultLifetimes())
	}
	if err := s.Check(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
	u, err := s.Public()
	if err != nil || u.String() != "http://127.0.0.1:8080" {
		t.Errorf("public URL %q, %v", u, err)
	}
}

func TestFlagsBeatTheEnvironmentBeatsTheFile(t *testing.T) {
	const file = "listen: 127.0.0.1:1001\nsessions: {idle: 1h, reconnect: interactive}\ntokens:\n  lifetime: 31m\n"
	s := mustParse(t, file)
	if s.Listen != "127.0.0.1:1001" || s.Sessions.Idle != time.Hour || s.Sessions.Reconnect != "interactive" || s.Tokens.Lifetime != 31*time.Minute {
		t.Errorf("the file alone: %+v", s)
	}
	t.Setenv("ORIEL_LISTEN", "127.0.0.1:1002")
	t.Setenv("ORIEL_SESSIONS_IDLE", "2h")
	s = mustParse(t, file)
	if s.Listen != "127.0.0.1:1002" || s.Sessions.Idle != 2*time.Hour || s.Tokens.Lifetime != 31*time.Minute {
		t.Errorf("file and environment: %+v", s)
	}
	s = mustParse(t, file, "--listen", "127.0.0.1:1003")
	if s.Listen != "127.0.0.1:1003" || s.Sessions.Idle != 2*time.Hour {
		t.Errorf("file, environment and flag: %+v", s)
	}
}

// What was set to nothing in the environment was set: the file must not come
// back through it.
func TestAnEmptyVariableIsStrongerThanTheFile(t *testing.T) {
	t.Setenv("ORIEL_SELF_TEAM", "")
	if s := mustParse(t, "self-team: shop\n"); s.SelfTeam != "" {
		t.Errorf("self team %q", s.SelfTeam)
	}
}

func TestFileKeys(t *testing.T) {
	for name, file := range map[string]string{
		"nested":         "sessions:\n  idle: 90m\nallowed-origins: [https://a.example, https://b.example]\npublic-url: https://oriel.example",
		"underscores":    "sessions: {idle: 90m}\nallowed_origins:\n  - https://a.example\n  - https://b.example\npublic_url: https://oriel.example",
		"flag names":     "sessions-idle: 90m\nallowed-origins: https://a.example,https://b.example\npublic-url: https://oriel.example",
		"flow and quote": `{"sessions": {"idle": "90m"}, "allowed-origins": ["https://a.example", "https://b.example"], "public-url": "https://oriel.example"}`,
	} {
		s := mustParse(t, file)
		if s.Sessions.Idle != 90*time.Minute || !slices.Equal(s.AllowedOrigins, []string{"https://a.example", "https://b.example"}) || s.PublicURL != "https://oriel.example" {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if s := mustParse(t, "# nothing but a comment\n"); s.Listen != "127.0.0.1:8080" {
		t.Errorf("an empty file: %+v", s)
	}
}

func TestMistakesInTheFileAreNamed(t *testing.T) {
	for name, test := range map[string]struct{ file, want string }{
		"unknown key":        {"listne: 127.0.0.1:1", "no setting listne"},
		"unknown nested key": {"sessions: {idel: 1h}", "no setting sessions-idel"},
		"two unknown keys":   {"zzz: 1\naaa: 2", "no setting aaa, zzz"},
		"another command's":  {"email: a@example.com", "no setting email"},
		"no value":           {"sessions:\n  idle:\n", "sessions.idle has no value"},
		"wrong type":         {"sessions: {idle: soon}", `--sessions-idle: expected duration but got "soon"`},
		"a list for one":     {"listen: {host: 127.0.0.1}", "no setting listen-host"},
		"not in the list":    {"sessions: {disconnect: daily}", `--sessions-disconnect must be one of "hourly","never" but got "daily"`},
		"not YAML":           {"listen: [", "settings file: yaml"},
		"not a map":          {"- listen", "settings file: yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(t, test.file)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q, want %q in it", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") && name != "not a map" && name != "not YAML" {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string // "" for settings that are in order
	}{
		"IPv6 loopback":                   {[]string{"--listen=[::1]:8080"}, ""},
		"everywhere with a public URL":    {[]string{"--listen=0.0.0.0:8080", "--public-url=https://oriel.example"}, ""},
		"idle and absolute off":           {[]string{"--sessions-idle=0", "--sessions-absolute=0"}, ""},
		"tokens of a day":                 {[]string{"--tokens-lifetime=24h"}, ""},
		"listen without a port":           {[]string{"--listen=127.0.0.1"}, `--listen "127.0.0.1": write it like 127.0.0.1:8080`},
		"everywhere":                      {[]string{"--listen=0.0.0.0:8080"}, "--listen 0.0.0.0:8080 reaches beyond this computer: say with --public-url"},
		"everywhere, IPv6":                {[]string{"--listen=[::]:8080"}, "reaches beyond this computer"},
		"everywhere, no host":             {[]string{"--listen=:8080"}, "reaches beyond this computer"},
		"a host that is not this machine": {[]string{"--listen=192.0.2.7:8080"}, "--public-url: "},
		"plain http beyond this computer": {[]string{"--public-url=http://oriel.example"}, "--public-url: "},
		"no URL":                          {[]string{"--public-url=oriel.example"}, "--public-url: "},
		"URL with a query":                {[]string{"--public-url=https://oriel.example/?a=b"}, "--public-url: "},
		"tokens too short":                {[]string{"--tokens-lifetime=5m"}, "longer than 5 minutes"},
		"tokens too long":                 {[]string{"--tokens-lifetime=25h"}, "24 hours at most"},
		"negative idle":                   {[]string{"--sessions-idle=-1h"}, "cannot be negative"},
		"negative absolute":               {[]string{"--sessions-absolute=-1h"}, "cannot be negative"},
		"negative window":                 {[]string{"--tokens-reuse-window=-1s"}, "cannot be negative"},
		"no memory size":                  {[]string{"--telemetry-memory=much"}, `--telemetry-memory "much"`},
		"too little memory":               {[]string{"--telemetry-memory=63MiB"}, "64 MiB at least"},
		"more memory than there is":       {[]string{"--telemetry-memory=9EiB"}, "--telemetry-memory"},
		"retention under a day":           {[]string{"--telemetry-retention=23h"}, "24h at least"},
	} {
		t.Run(name, func(t *testing.T) {
			err := mustParse(t, "", test.args...).Check()
			switch {
			case test.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestCheckReportsEverythingTogether(t *testing.T) {
	err := mustParse(t, "", "--public-url=nonsense", "--tokens-lifetime=1m", "--telemetry-memory=1", "--telemetry-retention=1h").Check()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"--public-url", "5 minutes", "--telemetry-memory", "--telemetry-retention"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
}

func TestPublicDefaultsToTheListeningAddress(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:9000": "http://127.0.0.1:9000",
		"localhost:9000": "http://localhost:9000",
		"[::1]:9000":     "http://" + net.JoinHostPort("::1", "9000"),
	} {
		u, err := mustParse(t, "", "--listen", listen).Public()
		if err != nil || u.String() != want {
			t.Errorf("--listen %s: %q, %v, want %q", listen, u, err, want)
		}
	}
}

func TestEveryServerSettingHasItsVariable(t *testing.T) {
	var cli struct {
		config.Server
	}
	p, err := kong.New(&cli)
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range p.Model.AllFlags(false) {
		for _, f := range group {
			if f.Name == "help" {
				continue
			}
			if want := "ORIEL_" + strings.ReplaceAll(strings.ToUpper(f.Name), "-", "_"); !slices.Equal(f.Envs, []string{want}) {
				t.Errorf("--%s is %q in the environment, want %s", f.Name, f.Envs, want)
			}
			if f.Help == "" {
				t.Errorf("--%s is not explained", f.Name)
			}
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte("sessions: {idle: 1h}\nlisten: 127.0.0.1:1"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("? [1]: x"))
	f.Fuzz(func(t *testing.T, text []byte) {
		// A file is understood or refused with a reason, never both.
		r, err := config.Load(bytes.NewReader(text))
		if err == nil && r == nil {
			t.Error("neither settings nor an error")
		}
	})
}
