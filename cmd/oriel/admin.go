package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/user"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/server"
)

// adminFlags are those of every administration command.
type adminFlags struct {
	config.Store `embed:""`
	JSON         bool `name:"json" help:"Print JSON, for programs."`
}

// with opens the store, runs do, and closes the store.
func (f *adminFlags) with(env *environment, do func(a *server.Admin) error) error {
	a, err := server.OpenAdmin(env.ctx, f.Store)
	if err != nil {
		return err
	}
	return errors.Join(do(a), a.Close())
}

// operator returns the actor of an administration command.
func operator() audit.Actor {
	u, err := user.Current()
	if err != nil {
		return audit.Shell("unknown")
	}
	return audit.Shell(u.Username)
}

// print shows a result: as one JSON value, or as text for people.
func (f *adminFlags) print(env *environment, v any, text string) error {
	if f.JSON {
		e := json.NewEncoder(env.stdout)
		e.SetEscapeHTML(false)
		return e.Encode(v)
	}
	_, err := io.WriteString(env.stdout, text)
	return err
}

// table lines up columns; an empty one is replaced by what to do about it.
func table(empty string, head []string, rows [][]string) string {
	if len(rows) == 0 {
		return empty + "\n"
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush() // a strings.Builder takes everything
	return b.String()
}

// stamp is a time as tables show it.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04Z")
}

// jsonTime is a time as JSON shows it: null for never.
func jsonTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
