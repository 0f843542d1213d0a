// Package server is a gRPC server as every socket of an agent has it: it knows who calls, refuses who may not, holds calls back until
// the service is ready, turns faults into statuses and panics into faults, writes one line a call, and answers health and reflection.
//
// Which services it carries, and on which sockets, is package carry's.
package server

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
)

// maxMessage bounds a message in either direction.
const maxMessage = 4 << 20

// handshakeTimeout is how long a client has for its TLS handshake and the first frames.
const handshakeTimeout = 5 * time.Second

// Config says what a server is.
type Config struct {
	Name     string // in log lines: "public", or the service's
	Log      *slog.Logger
	Audience Audience
	// TLS is asked at each connection by TCP, as certificates are renewed while the server runs. It may be nil and may answer nil: none.
	TLS func() *tls.Config
	// OpenTCP is asked at each connection by TCP without TLS whether all who reach it are trusted. If not, or if it is nil, a client
	// must be of this machine, and is the user whose socket it is.
	OpenTCP func() bool
	// Member reports whether such a user is an administrator. It may be nil: then root and our own user are.
	Member func(uid uint32) bool

	Forward   grpc.StreamHandler // gets the calls of services that are not registered; nil: they are unknown
	Forwarded []string           // those services, for reflection
}

// Server is one gRPC server. It may serve several listeners.
type Server struct {
	grpc   *grpc.Server
	health *health.Server
	calls  *calls
	stop   sync.Once
}

// New makes a server that carries what register registers. Until Ready, health answers NOT_SERVING and calls wait.
func New(cfg Config, register func(grpc.ServiceRegistrar)) *Server {
	s := &Server{health: health.NewServer(), calls: newCalls(cfg)}
	options := []grpc.ServerOption{
		grpc.Creds(peerCredentials{cfg.TLS, cfg.OpenTCP, cfg.Member, &failures{log: cfg.Log}}),
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
	shown := reflection.ServerOptions{Services: shownServices{s.grpc, cfg.Forwarded}}
	grpc_reflection_v1.RegisterServerReflectionServer(s.grpc, reflection.NewServerV1(shown))
	grpc_reflection_v1alpha.RegisterServerReflectionServer(s.grpc, reflection.NewServer(shown))
	s.setHealth(grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	return s
}

// Serve answers on a listener until Stop. It closes the listener.
func (s *Server) Serve(l net.Listener) error { return s.grpc.Serve(l) }

// Ready lets calls through and health answer SERVING. Calling it again changes nothing.
func (s *Server) Ready() {
	s.calls.open()
	s.setHealth(grpc_health_v1.HealthCheckResponse_SERVING)
}

// Stop takes no more calls, cancels streams, and waits for what is under way until ctx ends; then it cuts it off. It returns when
// no handler runs any more.
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

// shownServices is what reflection lists: what is registered and what is forwarded.
type shownServices struct {
	registered reflection.ServiceInfoProvider
	forwarded  []string
}

func (s shownServices) GetServiceInfo() map[string]grpc.ServiceInfo {
	all := s.registered.GetServiceInfo()
	for _, name := range s.forwarded {
		all[name] = grpc.ServiceInfo{}
	}
	return all
}
