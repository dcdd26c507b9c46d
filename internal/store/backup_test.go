package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/orielhq/oriel/internal/store"
)

// openFile opens a store of the kind that has copies.
func openFile(t *testing.T) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "oriel.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// A copy made while others write is whole, and has what was acknowledged
// before it began.
func TestBackupWhileWriting(t *testing.T) {
	db := openFile(t)
	stop, done := make(chan struct{}), make(chan error, 1)
	started := make(chan struct{})
	go func() {
		for n := int64(1); ; n++ {
			if err := db.SetPublicURL(t.Context(), fmt.Sprintf("https://%d.example.com", n)); err != nil {
				done <- err
				return
			}
			if n == 10 {
				close(started)
			}
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
		}
	}()
	<-started
	dir := t.TempDir()
	for i := range 5 {
		path := filepath.Join(dir, fmt.Sprintf("copy-%d.db", i))
		if err := db.Backup(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if f, err := store.CheckFile(t.Context(), path); err != nil || f.Version == 0 {
			t.Errorf("%+v, %v", f, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		if err := db.Backup(t.Context(), path); err == nil || !strings.Contains(err.Error(), "exists already") {
			t.Errorf("over a file: %v", err)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := db.Backup(t.Context(), filepath.Join(dir, "no", "such", "folder.db")); err == nil {
		t.Error("into a folder that does not exist")
	}
}

func TestCheckFileRefuses(t *testing.T) {
	db, dir := openFile(t), t.TempDir()
	path := filepath.Join(dir, "copy.db")
	if err := db.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, broken := range map[string][]byte{
		"empty": {}, "half": text[:len(text)/2], "overwritten": append(append(text[:4096:4096], make([]byte, 8192)...), text[12288:]...),
	} {
		broken := append([]byte(nil), broken...)
		path := filepath.Join(dir, name+".db")
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := store.CheckFile(t.Context(), path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
