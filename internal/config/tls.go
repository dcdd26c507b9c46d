package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
)

// TLS says with which certificate the server answers HTTPS by itself; the zero
// value leaves HTTPS to a proxy in front.
type TLS struct {
	Cert string `help:"Answer HTTPS with the certificate chain in this PEM file; it is read again when it changes." env:"ORIEL_TLS_CERT" type:"path" placeholder:"FILE"`
	Key  string `help:"PEM file with the certificate's key." env:"ORIEL_TLS_KEY" type:"path" placeholder:"FILE"`

	ACME          bool   `name:"acme" help:"Answer HTTPS with a certificate for the public URL's host that is obtained and renewed by ACME, from Let's Encrypt unless --tls-acme-directory names another authority. This accepts its terms." env:"ORIEL_TLS_ACME"`
	ACMEEmail     string `name:"acme-email" help:"Where the authority writes to, if something is wrong." env:"ORIEL_TLS_ACME_EMAIL" placeholder:"ADDRESS"`
	ACMEDirectory string `name:"acme-directory" help:"Address of another ACME authority." env:"ORIEL_TLS_ACME_DIRECTORY" placeholder:"URL"`
	ACMERoots     string `name:"acme-roots" help:"PEM file of who vouches for that authority. Default: the system's." env:"ORIEL_TLS_ACME_ROOTS" type:"path" placeholder:"FILE"`

	RedirectListen string `help:"Address on which plain HTTP is sent on to the public URL, such as :80; ACME's HTTP challenge is answered there." env:"ORIEL_TLS_REDIRECT_LISTEN" placeholder:"HOST:PORT"`
}

// On says whether the server answers HTTPS by itself.
func (t *TLS) On() bool { return t.ACME || t.Cert != "" || t.Key != "" }

// HTTPPort returns the port of RedirectListen, 0 for none.
func (t *TLS) HTTPPort() int {
	_, port, err := net.SplitHostPort(t.RedirectListen)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(port) // what is no number is no port
	return n
}

func (t *TLS) check(public string) error {
	if !t.On() {
		if t.RedirectListen != "" || t.ACMEEmail != "" || t.ACMEDirectory != "" || t.ACMERoots != "" {
			return errors.New("--tls-redirect-listen and --tls-acme-… are for a server that answers HTTPS: give --tls-acme, or --tls-cert and --tls-key")
		}
		return nil
	}
	var errs []error
	switch {
	case t.ACME && (t.Cert != "" || t.Key != ""):
		errs = append(errs, errors.New("--tls-acme obtains a certificate, --tls-cert and --tls-key name one: give the one or the other"))
	case !t.ACME && (t.Cert == "" || t.Key == ""):
		errs = append(errs, errors.New("--tls-cert and --tls-key belong together: give both"))
	}
	if _, _, err := net.SplitHostPort(t.RedirectListen); t.RedirectListen != "" && err != nil {
		errs = append(errs, fmt.Errorf("--tls-redirect-listen %q: write it like :80", t.RedirectListen))
	}
	u, err := url.Parse(public)
	if err != nil || u.Scheme != "https" {
		return errors.Join(append(errs, fmt.Errorf("--public-url %s: it must begin with https:// where the server answers HTTPS", public))...)
	}
	if t.ACME {
		if _, err := netip.ParseAddr(u.Hostname()); err == nil || u.Hostname() == "localhost" {
			errs = append(errs, fmt.Errorf("--tls-acme needs a public name in --public-url, and %s is none", u.Hostname()))
		}
		if d, err := url.Parse(t.ACMEDirectory); t.ACMEDirectory != "" && (err != nil || d.Scheme != "https" || d.Host == "") {
			errs = append(errs, fmt.Errorf("--tls-acme-directory %q: write the authority's address, like https://acme.example.com/directory", t.ACMEDirectory))
		}
	}
	return errors.Join(errs...)
}
