package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/orielhq/oriel/internal/oauth/spec"
)

// readyLimit is how long the program may take to start.
const readyLimit = 5 * time.Minute

// serve starts the built program over the loaded store and measures its start,
// its memory and requests over HTTP.
func (w *world) serve(ctx context.Context, o options, f *figures, dir, listen string) (err error) {
	cmd := exec.Command(o.binary, "serve", "--data-dir", dir, "--listen", listen, "--public-url", w.issuer,
		"--otlp-grpc-listen", "-", "--self-team", "-", "--log-level", "warn")
	cmd.Env, cmd.Stderr = os.Environ(), os.Stderr
	if w.place.url != "" {
		cmd.Env = append(cmd.Env, "ORIEL_DATABASE_URL="+w.place.url)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		if e := cmd.Process.Signal(syscall.SIGTERM); e != nil {
			err = errors.Join(err, e)
		}
		err = errors.Join(err, cmd.Wait())
	}()
	for deadline := began.Add(readyLimit); ; time.Sleep(5 * time.Millisecond) {
		res, err := http.Get(w.issuer + "/readyz")
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			return errors.New("the program is not ready within " + readyLimit.String())
		}
	}
	f.ready = time.Since(began)
	f.resident = resident(cmd.Process.Pid)
	// Grants that nothing has revoked or refreshed before.
	for _, n := range w.pick(min(sample, f.grants/20), f.grants, -1, 1000+uint64(f.grants)) {
		began := time.Now()
		token, err := w.refreshOverHTTP(ctx, n)
		if err != nil {
			return err
		}
		f.servedRefresh = append(f.servedRefresh, time.Since(began))
		began = time.Now()
		if err := w.call(ctx, token); err != nil {
			return err
		}
		f.servedCall = append(f.servedCall, time.Since(began))
		f.served++
	}
	f.residentAfter = resident(cmd.Process.Pid)
	return nil
}

func (w *world) refreshOverHTTP(ctx context.Context, n int) (string, error) {
	body := url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {string(w.token(n))}, "client_id": {string(w.who.client(w.who.app(n)).ID)},
	}.Encode()
	text, err := post(ctx, w.issuer+spec.TokenPath, "application/x-www-form-urlencoded", "", body)
	if err != nil {
		return "", fmt.Errorf("refresh: %w", err)
	}
	var answer struct {
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return "", err
	}
	return answer.Access, nil
}

// call is the smallest that an assistant can send.
func (w *world) call(ctx context.Context, token string) error {
	_, err := post(ctx, w.at.URL(), "application/json", token, `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	if err != nil {
		return fmt.Errorf("call: %w", err)
	}
	return nil
}

func post(ctx context.Context, to, kind, token, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("Accept", "application/json, text/event-stream")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // it was read to its end
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, text)
	}
	return text, err
}

var residentLine = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// resident is the memory of a process, in bytes; 0 where it is not known.
func resident(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	m := residentLine.FindSubmatch(text)
	if m == nil {
		return 0
	}
	kb, _ := strconv.ParseInt(string(m[1]), 10, 64)
	return kb << 10
}
