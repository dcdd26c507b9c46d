// Package mail sends the few letters that Oriel writes, by SMTP (RFC 5321).
// They are plain text, and nothing remote is in them.
package mail

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// timeout bounds one letter, from the connection to the server's last word.
const timeout = 10 * time.Second

// A Mailer sends letters through one server. It is safe for concurrent use.
type Mailer struct {
	host, from string
	options    []gomail.Option
}

// New reads the address of a server and that of the sender.
//
// smtps://user:password@mail.example.com speaks TLS from the beginning
// (port 465), smtp://… begins it with STARTTLS (port 587; RFC 3207), which the
// server must offer unless it is on this computer or ?tls=none is said. New
// connects to nothing.
func New(server, from string) (*Mailer, error) {
	u, err := url.Parse(server)
	if err != nil {
		// The text has the password in it: say nothing of it.
		return nil, errors.New("the mail server must be written like smtps://user:password@mail.example.com or smtp://mail.example.com:587")
	}
	if u.Hostname() == "" || u.Scheme != "smtp" && u.Scheme != "smtps" || u.Path != "" && u.Path != "/" {
		return nil, fmt.Errorf("the mail server must be written like smtps://user:password@mail.example.com or smtp://mail.example.com:587, not %s", u.Redacted())
	}
	m := &Mailer{host: u.Hostname(), from: from, options: []gomail.Option{gomail.WithTimeout(timeout)}}
	if err := gomail.NewMsg().From(from); err != nil {
		return nil, fmt.Errorf("the sender's address %q is none: write it like oriel@example.com or Oriel <oriel@example.com>", from)
	}
	port := 587
	if u.Scheme == "smtps" {
		port = 465
	}
	if u.Port() != "" {
		if port, err = strconv.Atoi(u.Port()); err != nil {
			return nil, fmt.Errorf("the mail server's port %q is no number", u.Port())
		}
	}
	m.options = append(m.options, gomail.WithPort(port))
	switch tls := u.Query().Get("tls"); {
	case u.Scheme == "smtps" && tls == "":
		m.options = append(m.options, gomail.WithSSL())
	case tls == "" && !loopback(m.host):
		m.options = append(m.options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case tls == "":
		m.options = append(m.options, gomail.WithTLSPolicy(gomail.TLSOpportunistic))
	case tls == "none" && u.Scheme == "smtp":
		m.options = append(m.options, gomail.WithTLSPolicy(gomail.NoTLS))
	default:
		return nil, fmt.Errorf("the mail server's ?tls=%s is not known; only smtp://…?tls=none is", tls)
	}
	if name := u.User.Username(); name != "" {
		password, _ := u.User.Password()
		auth := gomail.SMTPAuthAutoDiscover
		if loopback(m.host) || u.Query().Get("tls") == "none" {
			auth = gomail.SMTPAuthPlainNoEnc // there is no TLS to wait for
		}
		m.options = append(m.options, gomail.WithSMTPAuth(auth), gomail.WithUsername(name), gomail.WithPassword(password))
	}
	return m, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// Send sends a letter and returns when the server has taken it. The error says
// what the server said, and what to do about it.
func (m *Mailer) Send(ctx context.Context, to, subject, text string) error {
	letter := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := letter.From(m.from); err != nil {
		return fmt.Errorf("write a letter: %w", err)
	}
	if err := letter.To(to); err != nil {
		return fmt.Errorf("write to %q: %w", to, err)
	}
	letter.Subject(oneLine(subject))
	letter.SetDate()
	letter.SetMessageID()
	// Nobody is there to read an answer of a machine (RFC 3834 §5).
	letter.SetGenHeader("Auto-Submitted", "auto-generated")
	letter.SetBodyString(gomail.TypeTextPlain, text)
	client, err := gomail.NewClient(m.host, m.options...)
	if err != nil {
		return fmt.Errorf("send a letter: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := client.DialAndSendWithContext(ctx, letter); err != nil {
		return fmt.Errorf("send a letter through %s: %w%s", m.host, err, advice(err))
	}
	return nil
}

// oneLine keeps a header from becoming two.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// advice says what to do about an error of the server, "" where that is not
// known.
func advice(err error) string {
	text := err.Error()
	if answer, ok := errors.AsType[*textproto.Error](err); ok && (answer.Code == 535 || answer.Code == 534 || answer.Code == 530) ||
		strings.Contains(text, "535 ") || strings.Contains(text, "530 ") {
		return " (the server refuses the user name or the password: see ORIEL_SMTP_URL)"
	}
	if strings.Contains(text, "STARTTLS") {
		return " (the server offers no STARTTLS: use smtps://, or add ?tls=none if nobody can listen in between)"
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return " (is the server's address right, and does it answer from here?)"
	}
	return ""
}
