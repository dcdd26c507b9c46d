package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// confirmFlags are those of a command that asks before it ends something.
type confirmFlags struct {
	Yes bool `help:"Do not ask, for scripts."`
}

// maxAnswer bounds a typed answer, in bytes.
const maxAnswer = 1024

// errNotConfirmed says that somebody thought better of it.
var errNotConfirmed = errors.New("nothing was changed")

// confirm asks on a terminal whether what ends may end. Without a terminal
// there is nobody to ask, and only --yes goes on.
func (c confirmFlags) confirm(env *environment, ends string) error {
	if c.Yes {
		return nil
	}
	if f, ok := env.stdin.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return fmt.Errorf("%s There is no terminal to ask on, so nothing was changed: say --yes to do it", ends)
	}
	return ask(env.stdin, env.stderr, ends)
}

// ask takes y or yes, in any case, and nothing else.
func ask(in io.Reader, out io.Writer, ends string) error {
	fmt.Fprintf(out, "%s Continue? [y/N] ", ends)
	line, err := bufio.NewReader(io.LimitReader(in, maxAnswer)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return errNotConfirmed
}
