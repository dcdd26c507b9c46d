// Package testenv starts the real things that the tests under test/ are about:
// the built program, Chromium, Node.js and a client of the TypeScript SDK.
//
// It knows the program only from outside: by its command line, its pages and
// its HTTP paths. What is missing on the machine fails the test and says which
// make target installs it; nothing is skipped.
package testenv

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// pollInterval is how often Within asks again.
const pollInterval = 10 * time.Millisecond

const (
	// ShortWait bounds what should be there at once, on a busy machine.
	ShortWait = 10 * time.Second
	// TakesHold is within how long an administration command takes hold in a
	// running server.
	TakesHold = time.Second
	// OwnLogs is how soon a new team has Oriel's own log.
	OwnLogs = 30 * time.Second
	// EngineRestart bounds the restart of a killed engine, back-off included.
	EngineRestart = 30 * time.Second
)

// Within asks again and again until ask returns nil, and fails the test when
// it has not after limit.
func Within(t testing.TB, limit time.Duration, what string, ask func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, limit, err)
		}
		<-tick.C
	}
}

// root returns the folder of go.mod.
func root() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if ok && filepath.IsAbs(file) {
		return filepath.Dir(filepath.Dir(filepath.Dir(file))), nil
	}
	// Built with -trimpath: tests run in their package's folder.
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no go.mod above the working directory")
		}
	}
}

// Root returns the folder of the repository.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := root()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var binary = sync.OnceValues(func() (string, error) {
	dir, err := root()
	if err != nil {
		return "", err
	}
	// The results of tests are cached by the files they looked at. Looking at
	// the sources makes a changed program run its tests again.
	for _, tree := range []string{"cmd", "internal"} {
		err := filepath.WalkDir(filepath.Join(dir, tree), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
				return err
			}
			_, err = os.Stat(path)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	if made := os.Getenv("ORIEL_TEST_BINARY"); made != "" {
		if _, err := os.Stat(made); err != nil {
			return "", fmt.Errorf("ORIEL_TEST_BINARY: %w", err)
		}
		return made, nil
	}
	out := filepath.Join(dir, "bin", "oriel")
	build := exec.Command("go", "build", "-trimpath", "-o", out, "./cmd/oriel")
	build.Dir = dir
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, text)
	}
	return out, nil
})

// Binary returns the built program: the one that ORIEL_TEST_BINARY names, as
// make sets it, or one that is built now, once in a test process.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// BuiltBinary is Binary for a TestMain.
func BuiltBinary() (string, error) { return binary() }
