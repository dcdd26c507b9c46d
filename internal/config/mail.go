package config

import (
	"errors"
	"fmt"

	"github.com/orielhq/oriel/internal/mail"
)

// Mail says how letters are sent; without a server none are.
type Mail struct {
	// SMTPURL has a password in it, so that the environment is the place for
	// it: other users of the machine can read flags.
	SMTPURL  string `name:"smtp-url" help:"Mail server for invitations and new passwords: smtps://user:password@host, or smtp://… with STARTTLS. Better in the environment or the settings file than on the command line. Default: links are shown, not sent." env:"ORIEL_SMTP_URL" placeholder:"URL"`
	MailFrom string `name:"mail-from" help:"Sender of the letters." env:"ORIEL_MAIL_FROM" placeholder:"ADDRESS"`
}

// Mailer returns what sends letters, nil where no server is set.
func (m *Mail) Mailer() (*mail.Mailer, error) {
	switch {
	case m.SMTPURL == "" && m.MailFrom == "":
		return nil, nil
	case m.SMTPURL == "":
		return nil, errors.New("--mail-from needs --smtp-url: the server that takes the letters")
	case m.MailFrom == "":
		return nil, errors.New("--smtp-url needs --mail-from: whom the letters come from, like oriel@example.com")
	}
	sender, err := mail.New(m.SMTPURL, m.MailFrom)
	if err != nil {
		return nil, fmt.Errorf("--smtp-url, --mail-from: %w", err)
	}
	return sender, nil
}
