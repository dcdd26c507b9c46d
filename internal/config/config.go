// Package config owns Oriel's settings: each one once, with its flag, its
// environment variable, its key in the YAML file, its default and its check.
//
// A flag wins over the environment, the environment over the file. A setting
// --sessions-reconnect is ORIEL_SESSIONS_RECONNECT in the environment and
// sessions: {reconnect: …} in the file.
package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
)

// Store says where state lives. The administration commands share it with
// the server.
type Store struct {
	DataDir string `help:"Folder for everything Oriel keeps." default:"./oriel-data" env:"ORIEL_DATA_DIR" type:"path" placeholder:"DIR"`
	// DatabaseURL is that of PostgreSQL, "" for a SQLite file in DataDir. It
	// may hold a password: it is never printed.
	DatabaseURL string `name:"database-url" help:"PostgreSQL database for Oriel's state, instead of a SQLite file in the data directory. With a password, set it in the environment: other users of the machine can read flags." env:"ORIEL_DATABASE_URL" placeholder:"postgres://…"`
	// MasterKey is in the environment or in the data directory, never a flag:
	// other users of the machine can read those.
	MasterKey string `kong:"-"`
}

// Telemetry says how the embedded engines keep telemetry. Commands that write
// to them share it with the server.
type Telemetry struct {
	Retention time.Duration `help:"How long telemetry is kept; whole days." default:"720h" env:"ORIEL_TELEMETRY_RETENTION" placeholder:"TIME"`
	Memory    string        `help:"Memory that the embedded engine may use for queries and caches." default:"512MiB" env:"ORIEL_TELEMETRY_MEMORY" placeholder:"SIZE"`
	// An empty size is its default.
	MinFreeDisk string `help:"New telemetry is refused while the disk has less free space." default:"1GiB" env:"ORIEL_TELEMETRY_MIN_FREE_DISK" placeholder:"SIZE"`
	Engines     string `help:"File (YAML) with the engines on other machines that take the place of embedded ones, see docs/operations.md." env:"ORIEL_TELEMETRY_ENGINES" placeholder:"FILE"`
	SpoolSize   string `help:"How much may wait on disk for each embedded engine; senders are told to wait beyond it." default:"2GiB" env:"ORIEL_TELEMETRY_SPOOL_SIZE" placeholder:"SIZE"`
}

// Server is what the server needs to know.
type Server struct {
	Store     `embed:""`
	Listen    string `help:"Address to listen on." default:"127.0.0.1:8080" env:"ORIEL_LISTEN" placeholder:"HOST:PORT"`
	PublicURL string `help:"The address under which people and clients reach this server: https, or http on this computer. Default: the listening address." env:"ORIEL_PUBLIC_URL" placeholder:"URL"`

	TLS `embed:"" prefix:"tls-"`

	OTLPGRPCListen string `name:"otlp-grpc-listen" help:"Address to take OTLP over gRPC on; - for none. It has TLS where this server answers HTTPS, unless it is on this computer only. Default: 127.0.0.1:4317 if nothing else listens there." env:"ORIEL_OTLP_GRPC_LISTEN" placeholder:"HOST:PORT"`

	Sessions struct {
		Disconnect string        `help:"When assistants are disconnected: hourly (on the full hour, UTC) or never." enum:"hourly,never" default:"hourly" env:"ORIEL_SESSIONS_DISCONNECT" placeholder:"WHEN"`
		Reconnect  string        `help:"How an assistant comes back after the hour: refresh (by itself) or interactive (its person signs in again)." enum:"refresh,interactive" default:"refresh" env:"ORIEL_SESSIONS_RECONNECT" placeholder:"HOW"`
		Idle       time.Duration `help:"End connections that were not used for so long; 0 never." default:"720h" env:"ORIEL_SESSIONS_IDLE" placeholder:"TIME"`
		Absolute   time.Duration `help:"End connections so long after their consent; 0 never." default:"0" env:"ORIEL_SESSIONS_ABSOLUTE" placeholder:"TIME"`
	} `embed:"" prefix:"sessions-"`

	Tokens struct {
		Lifetime    time.Duration `help:"Longest life of an access token (more than 5m, at most 24h)." default:"1h" env:"ORIEL_TOKENS_LIFETIME" placeholder:"TIME"`
		ReuseWindow time.Duration `help:"How long after its rotation a refresh token still gives its newest successor, for clients that share one between processes." default:"10m" env:"ORIEL_TOKENS_REUSE_WINDOW" placeholder:"TIME"`
	} `embed:"" prefix:"tokens-"`

	Clients struct {
		Admission string   `help:"Which assistants people may connect: anyone, documents (those known by a metadata document), listed (see --clients-allowed) or registered (by an administrator, beforehand)." enum:"anyone,documents,listed,registered" default:"anyone" env:"ORIEL_CLIENTS_ADMISSION" placeholder:"WHO"`
		Allowed   []string `help:"With admission listed: hosts (claude.ai, *.example.com, localhost), schemes of apps (cursor:), addresses of metadata documents, or products (cursor, vscode, claude-code, …)." env:"ORIEL_CLIENTS_ALLOWED" placeholder:"CLIENT"`
	} `embed:"" prefix:"clients-"`

	Telemetry `embed:"" prefix:"telemetry-"`
	Retention `embed:""`

	SelfTeam string `help:"Slug of the team that receives Oriel's own logs; - for none. Default: the first team." env:"ORIEL_SELF_TEAM" placeholder:"SLUG"`

	Mail `embed:""`

	TrustedProxies []string `help:"Addresses or networks of the proxies in front of this server, whose X-Forwarded-For says where a request comes from. Without them every request counts as the proxy's own." env:"ORIEL_TRUSTED_PROXIES" placeholder:"CIDR"`

	AllowedOrigins []string `help:"Origins of web pages that may call the MCP endpoint, beside this server's own and those on this computer." env:"ORIEL_ALLOWED_ORIGINS" placeholder:"ORIGIN"`

	Log struct {
		Level  string `help:"Least severity that is logged: debug, info, warn or error." enum:"debug,info,warn,error" default:"info" env:"ORIEL_LOG_LEVEL" placeholder:"LEVEL"`
		Format string `help:"text, json, or auto: text on a terminal, else json." enum:"auto,text,json" default:"auto" env:"ORIEL_LOG_FORMAT" placeholder:"FORMAT"`
	} `embed:"" prefix:"log-"`
}

// Lifetimes returns the settings that concern grants.
func (s *Server) Lifetimes() grant.Lifetimes {
	return grant.Lifetimes{
		Access:      s.Tokens.Lifetime,
		Hourly:      s.Sessions.Disconnect == "hourly",
		Interactive: s.Sessions.Reconnect == "interactive",
		Idle:        s.Sessions.Idle,
		Absolute:    s.Sessions.Absolute,
		ReuseWindow: s.Tokens.ReuseWindow,
	}
}

// Admission returns the settings that say which clients may connect.
func (s *Server) Admission() grant.Admission {
	return grant.Admission{Policy: s.Clients.Admission, Allowed: s.Clients.Allowed}
}

// Check reports every fault of the settings together.
func (s *Server) Check() error {
	var errs []error
	if _, _, err := net.SplitHostPort(s.Listen); err != nil {
		errs = append(errs, fmt.Errorf("--listen %q: write it like 127.0.0.1:8080 or :8080", s.Listen))
	}
	if _, _, err := net.SplitHostPort(s.OTLPGRPCListen); err != nil && s.OTLPGRPCListen != "" && s.OTLPGRPCListen != NoListen {
		errs = append(errs, fmt.Errorf("--otlp-grpc-listen %q: write it like 127.0.0.1:4317 or :4317, or - for none", s.OTLPGRPCListen))
	}
	if public, err := s.Public(); err != nil {
		errs = append(errs, err)
	} else if err := s.TLS.check(public.String()); err != nil {
		errs = append(errs, err)
	}
	if err := s.Lifetimes().Check(); err != nil {
		errs = append(errs, err)
	}
	if err := s.Admission().Check(); err != nil {
		errs = append(errs, err)
	}
	if _, err := s.EngineMemory(); err != nil {
		errs = append(errs, err)
	}
	if err := s.Telemetry.checkDisk(); err != nil {
		errs = append(errs, err)
	}
	if _, err := s.Mailer(); err != nil {
		errs = append(errs, err)
	}
	if _, err := s.Proxies(); err != nil {
		errs = append(errs, err)
	}
	if err := s.Retention.check(); err != nil {
		errs = append(errs, err)
	}
	if s.Telemetry.Retention < 24*time.Hour {
		errs = append(errs, fmt.Errorf("--telemetry-retention %s: telemetry is kept for whole days, 24h at least", s.Telemetry.Retention))
	}
	return errors.Join(errs...)
}

// Public returns the public URL, or the listening address as one.
func (s *Server) Public() (spec.PublicURL, error) {
	text := s.PublicURL
	if text == "" {
		host, port, err := net.SplitHostPort(s.Listen)
		if err != nil {
			return spec.PublicURL{}, fmt.Errorf("--listen %q: %w", s.Listen, err)
		}
		if ip, err := netip.ParseAddr(host); host == "" || (err == nil && ip.IsUnspecified()) {
			return spec.PublicURL{}, fmt.Errorf("--listen %s reaches beyond this computer: say with --public-url under which address people find it", s.Listen)
		}
		scheme := "http://"
		if s.TLS.On() {
			scheme = "https://"
		}
		text = scheme + net.JoinHostPort(host, port)
	}
	u, err := spec.ParsePublicURL(text, false)
	if err != nil {
		return spec.PublicURL{}, fmt.Errorf("--public-url: %w", err)
	}
	return u, nil
}

// Proxies returns the networks of the trusted proxies.
func (s *Server) Proxies() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range s.TrustedProxies {
		p, err := netip.ParsePrefix(text)
		if a, addrErr := netip.ParseAddr(text); addrErr == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("--trusted-proxies %q: write an address or a network, like 10.0.0.7 or 10.0.0.0/8", text)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// EngineMemory returns the memory of the embedded engine in bytes.
func (t *Telemetry) EngineMemory() (int64, error) {
	n, err := humanize.ParseBytes(t.Memory)
	if err != nil || n < minEngineMemory || n > math.MaxInt64 {
		return 0, fmt.Errorf("--telemetry-memory %q: write it like 512MiB, %s at least", t.Memory, humanize.IBytes(minEngineMemory))
	}
	return int64(n), nil
}

// minEngineMemory is below what the engine needs to answer anything.
const minEngineMemory = 64 << 20

// Path returns a path inside the data directory.
func (s *Store) Path(elem ...string) string {
	return filepath.Join(append([]string{s.DataDir}, elem...)...)
}

// HasMasterKey says whether there is a master key already.
func (s *Store) HasMasterKey() bool {
	_, err := os.Stat(s.Path("master.key"))
	return err == nil || os.Getenv("ORIEL_MASTER_KEY") != ""
}

// Prepare makes the data directory, readable by its owner only, and returns
// the master key: from ORIEL_MASTER_KEY, or from the file master.key in the
// data directory, which is made on first use.
func (s *Store) Prepare() (grant.MasterKey, error) {
	if err := os.MkdirAll(s.DataDir, 0o700); err != nil {
		return grant.MasterKey{}, fmt.Errorf("make the data directory: %w", err)
	}
	if text := os.Getenv("ORIEL_MASTER_KEY"); text != "" {
		k, err := grant.ParseMasterKey(text)
		if err != nil {
			return k, fmt.Errorf("ORIEL_MASTER_KEY: %w", err)
		}
		return k, nil
	}
	return masterKeyFile(s.Path("master.key"))
}
