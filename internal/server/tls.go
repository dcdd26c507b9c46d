package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/orielhq/oriel/internal/certs"
)

// acmeDir keeps what ACME obtained, in the data directory.
const acmeDir = "acme"

// secure is what a server has that answers HTTPS by itself; its zero value
// leaves that to a proxy.
type secure struct {
	tls  *tls.Config
	acme *certs.ACME
	// redirect answers plain HTTP on listener.
	redirect *http.Server
	listener net.Listener
}

// openTLS reads the certificate, or prepares to obtain it.
func (s *Server) openTLS(ctx context.Context) error {
	o := &s.Settings.TLS
	if !o.On() {
		return nil
	}
	if o.ACME {
		public, err := url.Parse(s.public.String())
		if err != nil {
			return fmt.Errorf("read the public URL: %w", err)
		}
		_, port, err := net.SplitHostPort(s.listener.Addr().String())
		if err != nil {
			return fmt.Errorf("read the listening address: %w", err)
		}
		tlsPort, err := net.LookupPort("tcp", port)
		if err != nil {
			return fmt.Errorf("read the listening address: %w", err)
		}
		s.secure.acme, err = certs.FromACME(certs.ACMEConfig{
			Host: public.Hostname(), Dir: s.Settings.Path(acmeDir), Email: o.ACMEEmail, Directory: o.ACMEDirectory, Roots: o.ACMERoots,
			TLSPort: tlsPort, HTTPPort: o.HTTPPort(), Logger: s.log,
		})
		if err != nil {
			return err
		}
		s.secure.tls = s.secure.acme.TLS()
	} else {
		files, err := certs.FromFiles(o.Cert, o.Key, s.Now, s.log)
		if err != nil {
			return err
		}
		s.secure.tls = files.TLS()
	}
	if o.RedirectListen == "" {
		return nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", o.RedirectListen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w (choose another address with --tls-redirect-listen)", o.RedirectListen, err)
	}
	s.secure.listener = l
	handler := toHTTPS(s.public.String())
	if s.secure.acme != nil {
		handler = s.secure.acme.Challenge(handler)
	}
	s.secure.redirect = &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(s.self, slog.LevelDebug),
	}
	return nil
}

// toHTTPS sends browsers to the public URL. It refuses everything else: a
// client that has sent a secret in the clear once would go on doing so.
func toHTTPS(public string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead || r.Header.Get("Authorization") != "" {
			http.Error(w, "use "+public+": this address takes nothing but visits of browsers", http.StatusForbidden)
			return
		}
		http.Redirect(w, r, public+r.URL.RequestURI(), http.StatusPermanentRedirect)
	})
}

// run answers plain HTTP and keeps the certificate renewed until ctx is done.
func (s *secure) run(ctx context.Context) error {
	if s.acme != nil {
		if err := s.acme.Obtain(ctx); err != nil {
			return err
		}
	}
	if s.redirect == nil {
		return nil
	}
	stop := context.AfterFunc(ctx, func() { _ = s.redirect.Close() })
	defer stop()
	if err := s.redirect.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("answer plain HTTP: %w", err)
	}
	return nil
}

func (s *secure) close() error {
	if s.acme != nil {
		s.acme.Close()
	}
	if s.listener == nil {
		return nil
	}
	if err := s.listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// serveHTTP answers requests, with TLS where there is a certificate.
func (s *Server) serveHTTP() error {
	if s.secure.tls == nil {
		return s.http.Serve(s.listener)
	}
	s.http.TLSConfig = s.secure.tls
	return s.http.ServeTLS(s.listener, "", "")
}

// grpcOptions gives OTLP over gRPC the server's certificate where others than
// this computer can reach it.
func (s *Server) grpcOptions() []grpc.ServerOption {
	if s.secure.tls == nil || s.Settings.OTLPGRPCListen == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(s.Settings.OTLPGRPCListen)
	if ip := net.ParseIP(host); err != nil || host == "localhost" || ip.IsLoopback() {
		return nil
	}
	return []grpc.ServerOption{grpc.Creds(credentials.NewTLS(s.secure.tls))}
}
