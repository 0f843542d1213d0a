// Package server is the gRPC server of every socket of an agent. It delays calls until the service is
// ready, converts faults to statuses and panics to faults, logs one line for each call, and serves
// health and reflection. Package auth identifies and authorizes the clients.
//
// Package run decides which services are registered on which sockets.
package server

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	"github.com/fairlead/fairlead/agent/internal/auth"
	"github.com/fairlead/fairlead/agent/internal/traces"
	"github.com/fairlead/fairlead/agent/metrics"
)

// maxMessage is the maximum size of a message in either direction.
const maxMessage = 4 << 20

// handshakeTimeout is the time limit of the TLS handshake and the first frames.
const handshakeTimeout = 5 * time.Second

// Config configures a server.
type Config struct {
	Name     string // in log lines: "public", or the name of the service
	Log      *slog.Logger
	Audience auth.Audience
	Tracer   *traces.Tracer // nil: calls are not recorded
	// Clients identifies the clients. Its Log is not used.
	Clients auth.Credentials

	Forward   grpc.StreamHandler // handles calls of unregistered services; nil: they are unknown
	Forwarded []string           // the names of those services

	// Node returns the connection for calls that are addressed to another host, and nil if the name is
	// that of this host. Nil: such calls are rejected.
	Node NodeFunc
}

// NodeFunc returns a connection for calls that are addressed to a host.
type NodeFunc func(ctx context.Context, node string) (NodeConn, error)

// NodeConn is a connection for calls to another host. Hops says that the other side forwards them.
type NodeConn struct {
	Conn grpc.ClientConnInterface // nil: this host
	Hops bool
}

// Server is one gRPC server. It can serve several listeners.
type Server struct {
	grpc   *grpc.Server
	health *health.Server
	calls  *calls
	stop   sync.Once
}

// New returns a server with the services that register registers. Until Ready, health returns
// NOT_SERVING and calls wait. It fails if a method of a registered or forwarded service has no role.
func New(cfg Config, register func(grpc.ServiceRegistrar)) (*Server, error) {
	cfg.Clients.Log = cfg.Log
	s := &Server{health: health.NewServer(), calls: newCalls(cfg)}
	options := []grpc.ServerOption{
		grpc.Creds(cfg.Clients.Transport()),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.ChainUnaryInterceptor(s.calls.unary),
		grpc.ChainStreamInterceptor(s.calls.stream),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.WaitForHandlers(true),
	}
	if cfg.Forward != nil {
		options = append(options, grpc.UnknownServiceHandler(cfg.Forward))
	}

	s.grpc = grpc.NewServer(options...)
	register(s.grpc)
	grpc_health_v1.RegisterHealthServer(s.grpc, s.health)
	shown := reflection.ServerOptions{Services: shownServices{s, cfg.Forwarded}}
	grpc_reflection_v1.RegisterServerReflectionServer(s.grpc, reflection.NewServerV1(shown))
	grpc_reflection_v1alpha.RegisterServerReflectionServer(s.grpc, reflection.NewServer(shown))
	s.setHealth(grpc_health_v1.HealthCheckResponse_NOT_SERVING)

	services := append(slices.Collect(maps.Keys(s.grpc.GetServiceInfo())), cfg.Forwarded...)
	var err error
	if s.calls.roles, err = auth.RolesOf(services); err != nil {
		return nil, err
	}
	return s, nil
}

// Serve serves a listener until Stop. It closes the listener.
func (s *Server) Serve(l net.Listener) error { return s.grpc.Serve(l) }

// Ready unblocks calls and makes health return SERVING. Further calls have no effect.
func (s *Server) Ready() {
	s.calls.open()
	s.setHealth(grpc_health_v1.HealthCheckResponse_SERVING)
}

// Stop rejects new calls, cancels streams, and waits for running calls until ctx ends; then it
// aborts them. It returns when no handler is running.
func (s *Server) Stop(ctx context.Context) {
	s.stop.Do(func() {
		s.health.Shutdown()
		s.calls.cancelStreams()
		done := make(chan struct{})
		go func() {
			s.grpc.GracefulStop()
			close(done)
		}()
		select {
		case <-done:
		case <-ctx.Done():
			s.grpc.Stop()
			<-done
		}
	})
}

func (s *Server) setHealth(status grpc_health_v1.HealthCheckResponse_ServingStatus) {
	s.health.SetServingStatus("", status)
	for name := range s.grpc.GetServiceInfo() {
		s.health.SetServingStatus(name, status)
	}
}

// shownServices lists the registered services, and the forwarded ones with a method for administrators, for reflection.
type shownServices struct {
	server    *Server
	forwarded []string
}

func (s shownServices) GetServiceInfo() map[string]grpc.ServiceInfo {
	all := s.server.grpc.GetServiceInfo()
	for _, name := range s.forwarded {
		if s.server.calls.roles.HasAdminMethods(name) {
			all[name] = grpc.ServiceInfo{}
		}
	}
	return all
}

// Times returns the times of finished calls by method and status code.
func (s *Server) Times() *metrics.Times { return &s.calls.times }
