package mail

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/mail"
	"strings"
	"testing"

	gomail "github.com/wneessen/go-mail"
)

func TestNew(t *testing.T) {
	for server, want := range map[string]string{
		"smtps://u:secret@mail.example.com":   "",
		"smtp://mail.example.com":             "",
		"smtp://mail.example.com:25?tls=none": "",
		"smtp://[::1]:1025/":                  "",
		"mail.example.com":                    "must be written like",
		"http://mail.example.com":             "must be written like",
		"smtp://mail.example.com/inbox":       "must be written like",
		"smtp://":                             "must be written like",
		"smtp://mail.example.com?tls=maybe":   "tls=maybe",
		"smtps://mail.example.com?tls=none":   "tls=none",
		"smtp://u:secret@mail.example.com:x":  "must be written like",
		"ftp://u:secret@mail.example.com":     "must be written like",
	} {
		_, err := New(server, "oriel@example.com")
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", server, err, want)
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("%s: the password is in %q", server, err)
		}
	}
	for _, from := range []string{"", "oriel", "a@b\r\nBcc: c@d"} {
		if _, err := New("smtp://mail.example.com", from); err == nil {
			t.Errorf("from %q", from)
		}
	}
}

// server is the smallest that takes a letter; it knows no STARTTLS.
func server(t *testing.T) (port int, letters <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	out := make(chan string, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go talk(c, out)
		}
	}()
	return l.Addr().(*net.TCPAddr).Port, out
}

func talk(c net.Conn, out chan<- string) {
	defer c.Close()
	r := bufio.NewReader(c)
	fmt.Fprint(c, "220 test\r\n")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(strings.TrimSpace(strings.ToUpper(line)), " "); verb {
		case "EHLO":
			fmt.Fprint(c, "250-test\r\n250 8BITMIME\r\n")
		case "DATA":
			fmt.Fprint(c, "354 go on\r\n")
			var b strings.Builder
			for line := ""; line != ".\r\n"; {
				if line, err = r.ReadString('\n'); err != nil {
					return
				}
				b.WriteString(line)
			}
			out <- strings.TrimSuffix(b.String(), ".\r\n")
			fmt.Fprint(c, "250 taken\r\n")
		case "QUIT":
			fmt.Fprint(c, "221 bye\r\n")
			return
		default:
			fmt.Fprint(c, "250 ok\r\n")
		}
	}
}

func TestNothingBecomesAHeader(t *testing.T) {
	port, letters := server(t)
	m, err := New(fmt.Sprintf("smtp://127.0.0.1:%d", port), "Oriel <oriel@example.com>")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Send(t.Context(), "ada@example.com", "Hello\r\nBcc: eve@example.com\r\n\r\nfirst line", "Text\n.\nBcc: eve@example.com\n"); err != nil {
		t.Fatal(err)
	}
	got, err := mail.ReadMessage(strings.NewReader(<-letters))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got.Header.Get("Bcc") != "" || got.Header.Get("Subject") != "Hello Bcc: eve@example.com first line" || !strings.HasPrefix(string(body), "Text") {
		t.Errorf("%v\n%s", got.Header, body)
	}
	for _, to := range []string{"", "ada", "ada@example.com\r\nRCPT TO:<eve@example.com>", "ada@example.com, eve@example.com"} {
		if err := m.Send(t.Context(), to, "s", "t"); err == nil {
			t.Errorf("a letter to %q", to)
		}
	}
}

// RFC 3207 §4: who demands TLS sends nothing without it.
func TestRFC3207_4_NoSTARTTLS(t *testing.T) {
	port, letters := server(t)
	m, err := New(fmt.Sprintf("smtp://127.0.0.1:%d", port), "oriel@example.com")
	if err != nil {
		t.Fatal(err)
	}
	// As for a server on another computer.
	m.options = append(m.options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	if err := m.Send(t.Context(), "ada@example.com", "s", "t"); err == nil || !strings.Contains(err.Error(), "offers no STARTTLS") {
		t.Errorf("%v", err)
	}
	if len(letters) > 0 {
		t.Error("a letter was sent all the same")
	}
}
