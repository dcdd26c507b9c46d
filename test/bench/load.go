package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// conn is one connection that is kept open. It writes requests as bytes and
// reads answers itself: the load shares the machine with what it loads, so it
// must be light.
type conn struct {
	host string
	c    net.Conn
	r    *bufio.Reader
	b    []byte
	body []byte
}

func dial(base string) (*conn, error) {
	host := strings.TrimPrefix(base, "http://")
	c, err := net.Dial("tcp", host)
	if err != nil {
		return nil, err
	}
	return &conn{host: host, c: c, r: bufio.NewReaderSize(c, 16<<10)}, nil
}

// do sends a request and returns the body of an answer with status 200.
func (c *conn) do(method, path, form string) ([]byte, error) {
	c.b = append(append(append(append(append(c.b[:0], method...), ' '), path...), " HTTP/1.1\r\nHost: "...), c.host...)
	if form != "" {
		c.b = append(c.b, "\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: "...)
		c.b = strconv.AppendInt(c.b, int64(len(form)), 10)
	}
	c.b = append(append(c.b, "\r\n\r\n"...), form...)
	if _, err := c.c.Write(c.b); err != nil {
		return nil, err
	}
	body, status, err := c.answer()
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %d: %s", method, path, status, body)
	}
	return body, nil
}

// answer reads an answer of HTTP/1.1 with a Content-Length, which both servers
// give. The body is good until the next answer.
func (c *conn) answer() (body []byte, status int, err error) {
	length := -1
	for first := true; ; first = false {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return nil, 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if first {
			if status, err = strconv.Atoi(string(line[len("HTTP/1.1 "):len("HTTP/1.1 200")])); err != nil {
				return nil, 0, fmt.Errorf("status line %q: %w", line, err)
			}
			continue
		}
		if name, value, _ := bytes.Cut(line, []byte(": ")); bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return nil, 0, fmt.Errorf("content length: %w", err)
			}
		}
	}
	if length < 0 {
		return nil, 0, errors.New("an answer without Content-Length")
	}
	c.body = slices.Grow(c.body[:0], length)[:length]
	_, err = io.ReadFull(c.r, c.body)
	return c.body, status, err
}

// form posts an encoded form and returns one text member of the JSON answer.
func (c *conn) form(path, member, form string) (string, error) {
	body, err := c.do(http.MethodPost, path, form)
	if err != nil || member == "" {
		return "", err
	}
	// Not decoded: that would take a good part of the load's own time. No
	// value that is looked for here holds an escaped quote.
	_, rest, found := bytes.Cut(body, []byte(`"`+member+`":"`))
	value, _, _ := bytes.Cut(rest, []byte(`"`))
	text := string(value)
	if !found || text == "" {
		return "", fmt.Errorf("%s: no %s in %s", path, member, body)
	}
	return text, nil
}

// result is what one load did.
type result struct {
	took      time.Duration
	latencies []time.Duration
	cpu       time.Duration // of the server
	// missing says why there was no load.
	missing string
}

func (r *result) rate() float64 { return float64(len(r.latencies)) / r.took.Seconds() }

func (r *result) quantile(q float64) time.Duration {
	if len(r.latencies) == 0 {
		return 0
	}
	slices.Sort(r.latencies)
	return r.latencies[min(int(q*float64(len(r.latencies))), len(r.latencies)-1)]
}

// add counts another part of the same load.
func (r *result) add(o *result) {
	r.took += o.took
	r.cpu += o.cpu
	r.latencies = append(r.latencies, o.latencies...)
}

// errDone ends a connection's part of a load.
var errDone = errors.New("done")

// load runs step on so many connections until the time is over, or each has
// said errDone. step gets the number of its connection.
func load(s *subject, conns int, limit time.Duration, step func(c *conn, i int) error) (*result, error) {
	open := make([]*conn, conns)
	for i := range open {
		c, err := dial(s.url)
		if err != nil {
			return nil, err
		}
		defer c.c.Close() //nolint:errcheck // nothing is lost
		open[i] = c
	}
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex // guards all and failed
		all    []time.Duration
		failed error
	)
	start, used := time.Now(), s.cpu()
	end := start.Add(limit)
	for i, c := range open {
		wg.Go(func() {
			var mine []time.Duration
			var err error
			for err == nil {
				before := time.Now()
				if before.After(end) {
					break
				}
				if err = step(c, i); err == nil {
					mine = append(mine, time.Since(before))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
			if err != nil && !errors.Is(err, errDone) {
				failed = err
			}
		})
	}
	wg.Wait()
	return &result{took: time.Since(start), cpu: s.cpu() - used, latencies: all}, failed
}
