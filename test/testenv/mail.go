package testenv

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/mail"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// A MailServer takes letters (test/node/smtp.mjs).
type MailServer struct {
	Port int

	t       testing.TB
	mu      sync.Mutex // guards letters
	letters []Letter
}

// A Letter is one that a MailServer took.
type Letter struct {
	To      []string
	Subject string
	Text    string
}

// StartMail starts a mail server that lets this user in, or everybody where
// user is "".
func StartMail(t testing.TB, user, password string) *MailServer {
	t.Helper()
	settings, err := json.Marshal(map[string]string{"user": user, "password": password})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(Node(t), filepath.Join(NodeDir(t), "smtp.mjs"), string(settings))
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	m := &MailServer{t: t}
	done := make(chan struct{})
	t.Cleanup(func() { _ = stdin.Close(); <-done; _ = cmd.Wait() })
	lines := bufio.NewReader(stdout)
	first, err := lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(first, m)
	}
	if err != nil {
		close(done)
		t.Fatalf("start the mail server: %v", err)
	}
	go func() { defer close(done); m.read(lines) }()
	return m
}

func (m *MailServer) read(lines *bufio.Reader) {
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var got struct {
			To  []string
			Raw string
		}
		if err := json.Unmarshal(line, &got); err != nil {
			m.t.Errorf("the mail server printed %q", line)
			return
		}
		letter, err := mail.ReadMessage(strings.NewReader(got.Raw))
		if err != nil {
			m.t.Errorf("a letter that cannot be read: %v", err)
			return
		}
		_, text, _ := strings.Cut(got.Raw, "\r\n\r\n")
		m.mu.Lock()
		m.letters = append(m.letters, Letter{To: got.To, Subject: letter.Header.Get("Subject"), Text: unfold(text)})
		m.mu.Unlock()
	}
}

// unfold undoes quoted-printable as far as links need it (RFC 2045 §6.7).
func unfold(s string) string {
	return strings.NewReplacer("=\r\n", "", "=3D", "=").Replace(s)
}

// URL is the server's address for --smtp-url.
func (m *MailServer) URL(user, password string) string {
	if user != "" {
		return fmt.Sprintf("smtp://%s:%s@127.0.0.1:%d", user, password, m.Port)
	}
	return fmt.Sprintf("smtp://127.0.0.1:%d", m.Port)
}

// Letters returns those that came so far.
func (m *MailServer) Letters() []Letter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Letter(nil), m.letters...)
}

// Next waits for the n-th letter, from 1.
func (m *MailServer) Next(n int) Letter {
	m.t.Helper()
	Within(m.t, 10*time.Second, fmt.Sprintf("letter %d", n), func() error {
		if len(m.Letters()) < n {
			return errors.New("it has not come")
		}
		return nil
	})
	return m.Letters()[n-1]
}

var linkInLetter = regexp.MustCompile(`https?://\S+`)

// Link returns the link in a letter.
func (l Letter) Link() string { return linkInLetter.FindString(l.Text) }
