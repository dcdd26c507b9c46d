package ingest

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // what senders compress with
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Limits of the gRPC door.
const (
	// maxMessageBytes bounds a message as sent and decompressed.
	maxMessageBytes = 16 << 20
	// maxStreams bounds the requests at once on one connection.
	maxStreams = 64
	// grpcHeaderBytes bounds a request's header.
	grpcHeaderBytes = 16 << 10
	// grpcIdle is when an unused connection is closed, grpcHandshake how long
	// a new one may take.
	grpcIdle      = 15 * time.Minute
	grpcHandshake = 10 * time.Second
)

// GRPC returns a server of OTLP over gRPC (OTLP specification 1.x, "OTLP/gRPC")
// for the three signals. The ingest key comes in the metadata authorization, as
// over HTTP; a call without a good one ends before its message is read.
// What may be sent again later is answered UNAVAILABLE or RESOURCE_EXHAUSTED with
// RetryInfo.
func (s *Server) GRPC(options ...grpc.ServerOption) *grpc.Server {
	g := grpc.NewServer(append(options,
		grpc.ForceServerCodecV2(rawCodec{}),
		grpc.InTapHandle(s.admit),
		grpc.MaxRecvMsgSize(maxMessageBytes),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(grpcHeaderBytes),
		grpc.ConnectionTimeout(grpcHandshake),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: grpcIdle}),
	)...)
	for sig, take := range map[signal]taker{signalLogs: s.takeLogs, signalSpans: s.takeSpans, signalMetrics: s.takeMetrics} {
		g.RegisterService(&grpc.ServiceDesc{
			ServiceName: services[sig],
			Methods:     []grpc.MethodDesc{{MethodName: "Export", Handler: s.export(sig, take)}},
		}, nil)
	}
	return g
}

// services are the names of the signals' services
// (opentelemetry/proto/collector).
var services = map[signal]string{
	signalLogs:    "opentelemetry.proto.collector.logs.v1.LogsService",
	signalSpans:   "opentelemetry.proto.collector.trace.v1.TraceService",
	signalMetrics: "opentelemetry.proto.collector.metrics.v1.MetricsService",
}

// signalOf returns the signal of a method, "" for none of ours.
func signalOf(method string) signal {
	for sig, service := range services {
		if strings.HasPrefix(method, "/"+service+"/") {
			return sig
		}
	}
	return ""
}

// rawCodec hands messages over as they are: they are scanned before they are
// decoded, as over HTTP.
type rawCodec struct{}

// Name implements encoding.CodecV2.
func (rawCodec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2 for []byte.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("marshal a %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

// Unmarshal implements encoding.CodecV2 for *[]byte.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("unmarshal a %T", v)
	}
	*b = data.Materialize()
	return nil
}

// admit refuses a call by its header.
func (s *Server) admit(ctx context.Context, info *tap.Info) (context.Context, error) {
	_, f := s.admitted(ctx, info.Header.Get("authorization"), signalOf(info.FullMethodName))
	if f == nil {
		if err := s.ready(); err != nil {
			f = notNow(err)
		} else if s.inFlight.Load() >= s.maxInFlight {
			f = bodyFailure(errBusy)
		}
	}
	if f != nil {
		return nil, s.grpcError(ctx, f)
	}
	return ctx, nil
}

func (s *Server) export(sig signal, take taker) grpc.MethodHandler {
	return func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		key, f := s.admitted(ctx, md.Get("authorization"), sig)
		if f != nil {
			return nil, s.grpcError(ctx, f)
		}
		var data []byte
		if err := dec(&data); err != nil {
			return nil, err
		}
		body, f := s.takeMessage(ctx, key, data, take)
		if f != nil {
			return nil, s.grpcError(ctx, f)
		}
		s.metrics.Requests.WithLabelValues(strconv.Itoa(http.StatusOK)).Inc()
		return body, nil
	}
}

func (s *Server) takeMessage(ctx context.Context, key Key, data []byte, take taker) ([]byte, *failure) {
	lease := s.newLease()
	defer lease.release()
	if err := lease.grow(int64(len(data))); err != nil {
		return nil, bodyFailure(err)
	}
	return s.take(ctx, key, typeProtobuf, data, take)
}

// grpcError is a failure's status ("Failures" in the specification): without
// RetryInfo a sender takes RESOURCE_EXHAUSTED as final.
func (s *Server) grpcError(ctx context.Context, f *failure) error {
	s.failed(ctx, f)
	st := status.New(f.code, f.public)
	if f.code == codes.Unavailable || f.code == codes.ResourceExhausted {
		after := durationpb.New(cmp.Or(f.after, retryAfter))
		if detailed, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: after}); err == nil {
			st = detailed
		}
	}
	return st.Err()
}
