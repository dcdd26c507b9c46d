package victoria

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	// maxSocketPathBytes is what fits into a socket address everywhere
	// (sun_path: 108 bytes on Linux, 104 on BSD and macOS, with the final 0).
	maxSocketPathBytes = 103

	socketName = "engine.sock"
	// socketNote names the socket's path where it is not in the data folder.
	socketNote = "engine.sock.path"
)

// SocketPath returns where the engine of a data folder listens, for the
// process that starts it, and makes the folder around it. Where the data
// folder's own path is too long for a socket address, the socket lives in a
// private folder of the system's temporary folder, and a note in the data
// folder says where, for Attach.
func SocketPath(dataDir string) (string, error) {
	dir, err := filepath.Abs(dataDir)
	if err != nil {
		return "", fmt.Errorf("find the engine's data folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the engine's data folder: %w", err)
	}
	// The engine has no password: the folder is what keeps other users out.
	if err := os.Chmod(dir, 0o700); err != nil {
		return "", fmt.Errorf("protect the engine's data folder: %w", err)
	}
	note := filepath.Join(dir, socketNote)
	if path := filepath.Join(dir, socketName); len(path) <= maxSocketPathBytes {
		if err := os.Remove(note); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("remove the stale note about the engine's socket: %w", err)
		}
		return path, nil
	}
	private := filepath.Join(os.TempDir(), "oriel-"+strconv.Itoa(os.Getuid()))
	sum := sha256.Sum256([]byte(dir))
	path := filepath.Join(private, hex.EncodeToString(sum[:8])+".sock")
	if len(path) > maxSocketPathBytes {
		return "", fmt.Errorf("the path %q is too long for a socket (%d bytes at most), and so is the temporary folder's; use a shorter data folder", dir, maxSocketPathBytes)
	}
	if err := os.Mkdir(private, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("make a folder for the engine's socket: %w", err)
	}
	if err := checkPrivate(private); err != nil {
		return "", err
	}
	if err := os.WriteFile(note, []byte(path+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("note where the engine's socket is: %w", err)
	}
	return path, nil
}

// FindSocket returns where the engine of a data folder listens, for a process
// that did not start it. The engine may not be running.
func FindSocket(dataDir string) (string, error) {
	dir, err := filepath.Abs(dataDir)
	if err != nil {
		return "", fmt.Errorf("find the engine's data folder: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, socketNote))
	if errors.Is(err, os.ErrNotExist) {
		return filepath.Join(dir, socketName), nil
	}
	if err != nil {
		return "", fmt.Errorf("read where the engine's socket is: %w", err)
	}
	path := strings.TrimSuffix(string(text), "\n")
	return path, checkPrivate(filepath.Dir(path))
}

// checkPrivate refuses a folder that another user of the machine could have
// made to catch what we send.
func checkPrivate(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("check the folder of the engine's socket: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm() != 0o700 || !ok || int(owner.Uid) != os.Getuid() {
		return fmt.Errorf("the folder %q must be a folder of this user with mode 0700; remove it", dir)
	}
	return nil
}
