package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"

	"github.com/orielhq/oriel/internal/config"
)

// defaultGRPC is where OTLP exporters send over gRPC (OTLP specification,
// "OTLP/gRPC Default Port").
const defaultGRPC = "127.0.0.1:4317"

// listenGRPC takes the address of OTLP over gRPC. The default one may be taken,
// by a collector perhaps; one that was asked for may not.
func (s *Server) listenGRPC(ctx context.Context) error {
	address := s.Settings.OTLPGRPCListen
	if address == config.NoListen {
		return nil
	}
	var lc net.ListenConfig
	if address == "" {
		l, err := lc.Listen(ctx, "tcp", defaultGRPC)
		if err != nil {
			s.log.WarnContext(ctx, "OTLP over gRPC is off: something else listens on its address; choose another with --otlp-grpc-listen", "address", defaultGRPC)
			return nil
		}
		s.grpcListener = l
		return nil
	}
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w (choose another address with --otlp-grpc-listen, - for none)", address, err)
	}
	s.grpcListener = l
	return nil
}

// GRPCAddr returns where OTLP over gRPC is taken, "" where it is not.
func (s *Server) GRPCAddr() string {
	if s.grpcListener == nil {
		return ""
	}
	return s.grpcListener.Addr().String()
}

// serveGRPC answers until ctx is done, then lets calls finish for a while.
func serveGRPC(ctx context.Context, g *grpc.Server, l net.Listener) error {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		end := time.AfterFunc(streamGrace, g.Stop)
		defer end.Stop()
		g.GracefulStop()
	})
	err := g.Serve(l)
	if !stop() {
		<-stopped
	}
	if err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve OTLP over gRPC: %w", err)
	}
	return nil
}
