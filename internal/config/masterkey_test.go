package config_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/grant"
)

// prepareVariable tells the test binary to prepare a data directory, print
// the key's digest of a purpose and end.
const prepareVariable = "CONFIG_TEST_PREPARE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(prepareVariable); dir != "" {
		k, err := (&config.Store{DataDir: dir}).Prepare()
		if err != nil {
			_, _ = os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		_, _ = os.Stdout.Write(k.Derive("test"))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestMasterKeyIsMadeOnceAndKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "data")
	s := config.Store{DataDir: dir}
	first, err := s.Prepare()
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Prepare()
	if err != nil || first != second || first == (grant.MasterKey{}) {
		t.Fatalf("the key did not last: %v", err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "master.key"): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s may be used by %o, want %o", path, got, want)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("beside the key: %v, %v", files, err)
	}
}

func TestMasterKeyIsOneForConcurrentCallers(t *testing.T) {
	s := config.Store{DataDir: t.TempDir()}
	keys := make([]grant.MasterKey, 32)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			var err error
			if keys[i], err = s.Prepare(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(slices.Compact(keys)) != 1 {
		t.Error("more than one key")
	}
}

func TestMasterKeyIsOneForConcurrentProcesses(t *testing.T) {
	dir := t.TempDir()
	digests := make([]string, 6)
	var wg sync.WaitGroup
	for i := range digests {
		wg.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), prepareVariable+"="+dir, "ORIEL_MASTER_KEY=")
			out, err := cmd.Output()
			if e, ok := errors.AsType[*exec.ExitError](err); ok {
				t.Errorf("%v: %s", err, e.Stderr)
			}
			digests[i] = string(out)
		})
	}
	wg.Wait()
	if len(slices.Compact(digests)) != 1 || len(digests[0]) != 32 {
		t.Errorf("not one key: %x", digests)
	}
}

func TestMasterKeyFromTheEnvironment(t *testing.T) {
	dir := t.TempDir()
	text := strings.Repeat("0a", 32)
	t.Setenv("ORIEL_MASTER_KEY", text)
	want, err := grant.ParseMasterKey(text)
	if err != nil {
		t.Fatal(err)
	}
	k, err := (&config.Store{DataDir: dir}).Prepare()
	if err != nil || k != want {
		t.Errorf("another key, %v", err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("a key from the environment was written to disk: %v, %v", files, err)
	}
	t.Setenv("ORIEL_MASTER_KEY", "0a0b0c secret")
	_, err = (&config.Store{DataDir: dir}).Prepare()
	if err == nil || !strings.Contains(err.Error(), "ORIEL_MASTER_KEY: the master key must be 64 hexadecimal digits") || strings.Contains(err.Error(), "0a0b0c") {
		t.Errorf("a broken key: %v", err)
	}
}

func TestBrokenMasterKeyFileIsRefusedAndKept(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "master.key")
	if err := os.WriteFile(path, []byte("cut off"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := (&config.Store{DataDir: dir}).Prepare()
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want the file's name in it", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "cut off" {
		t.Errorf("the file was overwritten: %q, %v", text, err)
	}
}

func TestDataDirectoryThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (&config.Store{DataDir: filepath.Join(file, "data")}).Prepare(); err == nil || !strings.Contains(err.Error(), "make the data directory") {
		t.Errorf("error %v", err)
	}
}

func TestPathIsInsideTheDataDirectory(t *testing.T) {
	if got := (&config.Store{DataDir: "/var/lib/oriel"}).Path("telemetry", "logs"); got != "/var/lib/oriel/telemetry/logs" {
		t.Error(got)
	}
}
