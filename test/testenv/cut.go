package testenv

import (
	"errors"
	"net"
	"net/url"
	"sync"
	"testing"
)

// Cut is a way to a server on a Unix socket that can be cut, as a network can:
// it swallows everything without a word, or resets what comes. Its methods may
// be called from several goroutines.
type Cut struct {
	listener net.Listener
	socket   string

	mu    sync.Mutex // guards all below
	state cutState
	pairs map[*pair]struct{}
	// change is closed when the state becomes another.
	change chan struct{}
}

type cutState int

const (
	open cutState = iota
	swallowing
	resetting
)

// pair is a connection with its other half.
type pair struct{ near, far net.Conn }

func (p *pair) close() {
	for _, c := range []net.Conn{p.near, p.far} {
		if c == nil {
			continue
		}
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset, not an end
		}
		_ = c.Close()
	}
}

// NewCut returns an open way to the socket, closed when the test ends.
func NewCut(t testing.TB, socket string) *Cut {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &Cut{listener: l, socket: socket, pairs: make(map[*pair]struct{}), change: make(chan struct{})}
	t.Cleanup(func() {
		_ = l.Close()
		c.Reset()
	})
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go c.carry(&pair{near: near})
		}
	}()
	return c
}

// Address returns the URL of a PostgreSQL database with this way in it.
func (c *Cut) Address(database string) (string, error) {
	u, err := url.Parse(database)
	if err != nil {
		return "", err
	}
	u.Host, u.RawQuery = c.listener.Addr().String(), "sslmode=disable"
	return u.String(), nil
}

// Swallow keeps every connection and takes new ones, and carries nothing.
func (c *Cut) Swallow() { c.become(swallowing) }

// Reset ends every connection, and new ones at once.
func (c *Cut) Reset() { c.become(resetting) }

// Mend carries everything again, what was held back included.
func (c *Cut) Mend() { c.become(open) }

// MendAnew carries new connections; those of before stay dead without a word,
// as after a firewall that has forgotten them.
func (c *Cut) MendAnew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.pairs) // carry knows by this that it holds a dead one
	c.becomeLocked(open)
}

func (c *Cut) become(s cutState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.becomeLocked(s)
}

func (c *Cut) becomeLocked(s cutState) {
	c.state = s
	close(c.change)
	c.change = make(chan struct{})
	if s == resetting {
		for p := range c.pairs {
			p.close()
		}
		clear(c.pairs)
	}
}

var errCut = errors.New("cut")

// pass waits until the pair may carry something.
func (c *Cut) pass(p *pair) error {
	for {
		c.mu.Lock()
		_, alive := c.pairs[p]
		state, change := c.state, c.change
		c.mu.Unlock()
		switch {
		case state == resetting:
			return errCut
		case alive && state == open:
			return nil
		}
		<-change
	}
}

func (c *Cut) carry(p *pair) {
	c.mu.Lock()
	if c.state == resetting {
		c.mu.Unlock()
		p.close()
		return
	}
	c.pairs[p] = struct{}{}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.pairs, p)
		c.mu.Unlock()
		p.close()
	}()
	if c.pass(p) != nil {
		return
	}
	far, err := net.Dial("unix", c.socket)
	if err != nil {
		return
	}
	c.mu.Lock()
	p.far = far
	c.mu.Unlock()
	done := make(chan struct{}, 2)
	one := func(to, from net.Conn) {
		buffer := make([]byte, 32<<10)
		for {
			n, err := from.Read(buffer)
			if n > 0 {
				if c.pass(p) != nil {
					break
				}
				if _, werr := to.Write(buffer[:n]); werr != nil {
					break
				}
			}
			if err != nil {
				break
			}
		}
		done <- struct{}{}
	}
	go one(far, p.near)
	go one(p.near, far)
	<-done
	_ = c.pass(p) // an end is not carried over a cut either
}
