package config

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/orielhq/oriel/internal/grant"
)

// masterKeyFile reads the master key, or makes it. Two processes that start
// together end up with one key: the file appears complete or not at all, and
// never twice.
func masterKeyFile(path string) (grant.MasterKey, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := createMasterKey(path); err != nil {
			return grant.MasterKey{}, fmt.Errorf("make the master key: %w", err)
		}
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return grant.MasterKey{}, fmt.Errorf("read the master key: %w", err)
	}
	k, err := grant.ParseMasterKey(string(text))
	if err != nil {
		return k, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

func createMasterKey(path string) error {
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".master.key-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // a left-over is harmless and was never the key
	if _, err := f.WriteString(hex.EncodeToString(key[:]) + "\n"); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	// Link, unlike rename, fails where somebody was faster.
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
