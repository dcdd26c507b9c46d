package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/orielhq/oriel/internal/config"
)

// State is how a check of the doctor came out.
type State string

// The states of a check.
const (
	OK     State = "ok"
	Warned State = "warn"
	Failed State = "fail"
)

// Finding is one check of the doctor.
type Finding struct {
	Check  string
	State  State
	Detail string
	// Next says what to do, "" where there is nothing.
	Next string
}

const (
	// doctorTimeout bounds each request of the doctor to the server.
	doctorTimeout = 3 * time.Second
	// scarceDisk and fullDisk are when free space is warned of and when it is
	// a fault: SQLite needs room for its log to write at all.
	scarceDisk = 2 << 30
	fullDisk   = 100 << 20
	// clockSkew is how far the clocks of this shell and the server may differ
	// before tokens suffer.
	clockSkew = 10 * time.Second
)

// Examine looks at an installation from outside, whether the server runs or
// not. Where there is no installation it makes none.
func Examine(ctx context.Context, c config.Server) []Finding {
	d := &doctor{}
	if d.dataDirectory(c.Store) {
		d.disk(c.DataDir)
		d.stored(ctx, c.Store)
		d.policies(ctx, c)
	}
	d.reach(ctx, c)
	return d.findings
}

type doctor struct{ findings []Finding }

func (d *doctor) note(check string, state State, next, format string, args ...any) {
	d.findings = append(d.findings, Finding{check, state, fmt.Sprintf(format, args...), next})
}

func (d *doctor) dataDirectory(c config.Store) bool {
	info, err := os.Stat(c.DataDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.note("data directory", Failed, "start the server once, or give the right --data-dir", "%s does not exist", c.DataDir)
		return false
	case err != nil:
		d.note("data directory", Failed, "run as the user that runs the server", "%v", err)
		return false
	case !info.IsDir():
		d.note("data directory", Failed, "give the right --data-dir", "%s is not a directory", c.DataDir)
		return false
	case info.Mode().Perm()&0o077 != 0:
		d.note("data directory", Failed, "chmod 700 "+c.DataDir, "%s can be read by others (%s)", c.DataDir, info.Mode().Perm())
	default:
		d.note("data directory", OK, "", "%s, for its owner only", c.DataDir)
	}
	if _, err := os.Stat(c.Path(storeFile)); err != nil && c.DatabaseURL == "" {
		d.note("database", Failed, "start the server once, or give the right --data-dir", "there is no %s in it", storeFile)
		return false
	}
	if info, err := os.Stat(c.Path("master.key")); err == nil && info.Mode().Perm()&0o077 != 0 {
		d.note("master key file", Failed, "chmod 600 "+c.Path("master.key"), "master.key can be read by others (%s)", info.Mode().Perm())
	} else if err != nil && os.Getenv("ORIEL_MASTER_KEY") == "" {
		d.note("master key", Failed, "put the master key back: set ORIEL_MASTER_KEY or restore master.key from the backup", "there is none, and the stored signing keys cannot be read without")
		return false
	}
	return true
}

func (d *doctor) disk(dir string) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		d.note("disk space", Warned, "", "cannot be read: %v", err)
		return
	}
	free := st.Bavail * uint64(st.Bsize)
	switch text := humanize.IBytes(free) + " free"; {
	case free < fullDisk:
		d.note("disk space", Failed, "free some space: the server cannot write", "%s", text)
	case free < scarceDisk:
		d.note("disk space", Warned, "free some space, or shorten --telemetry-retention", "%s", text)
	default:
		d.note("disk space", OK, "", "%s", text)
	}
}

// stored looks at what is in the database.
func (d *doctor) stored(ctx context.Context, c config.Store) {
	a, err := OpenAdmin(ctx, c)
	if err != nil {
		next := "restore the database from a backup, or update the program"
		if strings.Contains(err.Error(), "master key") {
			next = "set ORIEL_MASTER_KEY, or restore master.key, to the key that belongs to this database"
		}
		if c.DatabaseURL != "" {
			next = ""
		}
		d.note("database", Failed, next, "cannot be opened: %v", err)
		return
	}
	defer a.Close() //nolint:errcheck // it was read only
	d.note("migrations", OK, "", "the schema is up to date")
	d.note("master key", OK, "", "it opens the stored signing keys")
	if problems, err := a.db.CheckIntegrity(ctx); err != nil {
		d.note("integrity", Failed, "restore the database from a backup", "%v", err)
	} else if len(problems) > 0 {
		d.note("integrity", Failed, "restore the database from a backup", "%s", strings.Join(problems, "; "))
	} else if c.DatabaseURL != "" {
		d.note("integrity", OK, "", "is PostgreSQL's own business")
	} else {
		d.note("integrity", OK, "", "quick_check and foreign_key_check find nothing")
	}
	d.keys(a)
	if has, err := a.Directory.HasOwner(ctx); err != nil || !has {
		d.note("owner", Failed, "oriel user add --owner --email E --name N", "nobody is an owner")
	} else {
		d.note("owner", OK, "", "there is one")
	}
	if teams, err := a.Directory.Teams(ctx); err != nil || len(teams) == 0 {
		d.note("teams", Warned, "oriel team add --slug S --name N", "there is no team yet, so no assistant can connect")
	} else {
		d.note("teams", OK, "", "%d", len(teams))
	}
}

func (d *doctor) keys(a *Admin) {
	now := time.Now()
	for _, k := range a.Authority.Keys.States() {
		if !k.Signs {
			continue
		}
		age := now.Sub(k.ActiveAt)
		text := fmt.Sprintf("%s (%s) signs since %d days", k.ID, k.Algorithm, int(age.Hours()/24))
		switch {
		case !k.NextAt.IsZero() && now.After(k.NextAt.Add(24*time.Hour)):
			d.note("signing key", Warned, "oriel signing-key rotate, and see why the server does not rotate it", "%s and should have been replaced", text)
		case !k.NextAt.IsZero():
			d.note("signing key", OK, "", "%s, the next one is made on %s", text, k.NextAt.UTC().Format(time.DateOnly))
		default:
			d.note("signing key", OK, "", "%s, its successor is published", text)
		}
	}
	if ks := a.Authority.Keys.States(); len(ks) > 0 && ks[0].CreatedAt.After(now.Add(time.Minute)) {
		d.note("clock", Failed, "set this machine's clock (NTP)", "the newest key was made at %s, which is in the future", ks[0].CreatedAt.UTC().Format(time.RFC3339))
	}
}

// reach asks the server under its public URL.
func (d *doctor) reach(ctx context.Context, c config.Server) {
	public, err := c.Public()
	if err != nil {
		d.note("public URL", Failed, "set --public-url as the server has it", "%v", err)
		return
	}
	u, err := url.Parse(public.String())
	if err != nil {
		d.note("public URL", Failed, "set --public-url as the server has it", "%v", err)
		return
	}
	if loopback := u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback(); u.Scheme == "https" || loopback {
		d.note("public URL", OK, "", "%s", public)
	} else {
		d.note("public URL", Failed, "put https in front and set --public-url", "%s is not https", public)
	}
	res, err := ask(ctx, public.String()+"/healthz")
	if err != nil {
		d.note("server", Warned, "start it, or give --public-url and --listen as the server has them", "does not answer at %s", public)
		return
	}
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		if skew := time.Since(date).Abs(); skew > clockSkew {
			d.note("clock", Failed, "set the clocks (NTP)", "the server's clock and this one differ by %s", skew.Round(time.Second))
		} else {
			d.note("clock", OK, "", "agrees with the server's")
		}
	}
	var parts readiness
	ready, err := askFor(ctx, public.String()+"/readyz", &parts)
	switch {
	case err != nil || res.StatusCode != http.StatusOK:
		d.note("server", Failed, "look into its log", "answers at %s, but is not well", public)
	case ready.StatusCode != http.StatusOK:
		d.note("server", Failed, "open "+public.String()+"/readyz, and look into its log", "runs, but is not ready")
	default:
		d.note("server", OK, "", "runs and is ready")
	}
	for part, is := range parts.all() {
		if is != "ok" && is != "" {
			d.note(part, Failed, "", "%s", is)
		}
	}
}

func ask(ctx context.Context, target string) (*http.Response, error) {
	return askFor(ctx, target, nil)
}

// maxReadyBytes of an answer are read.
const maxReadyBytes = 1 << 20

// askFor reads an answer in JSON.
func askFor(ctx context.Context, target string, into any) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if into != nil {
		err = json.NewDecoder(io.LimitReader(res.Body, maxReadyBytes)).Decode(into)
	}
	return res, errors.Join(err, res.Body.Close())
}
