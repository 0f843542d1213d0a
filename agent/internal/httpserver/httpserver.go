// Package httpserver serves HTTP on the sockets of a service. It identifies and authorizes clients as
// package server does for gRPC, limits headers and idle connections, and passes the client of a request
// on in its context. The service has the handler.
//
// Only package run uses it.
package httpserver

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/internal/auth"
	"github.com/fairlead/fairlead/agent/internal/traces"
	"github.com/fairlead/fairlead/agent/service"
	"github.com/fairlead/fairlead/agent/tracing"
)

// Limits of a connection.
const (
	headerTimeout  = 10 * time.Second // for the TLS handshake and the headers of a request
	idleTimeout    = 5 * time.Minute  // between two requests
	maxHeaderBytes = 256 << 10
)

// Config configures a server.
type Config struct {
	Log     *slog.Logger
	Clients auth.Credentials
	Handler http.Handler
	Tracer  *traces.Tracer // nil: requests are not recorded
}

// Server is one HTTP server. It can serve several listeners.
type Server struct {
	config  Config
	http    *http.Server
	running context.Context // of all requests; ends when the server stops
	end     context.CancelFunc
	calls   sync.WaitGroup
}

// New returns a server.
func New(cfg Config) *Server {
	s := &Server{config: cfg}
	s.running, s.end = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return service.WithOutlast(s.running, s.outlast) },
		ConnContext:       s.identify,
		// HTTP/2 has no connections that a handler can take over.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	return s
}

// Serve serves a listener until Stop. It closes the listener.
func (s *Server) Serve(l net.Listener) error {
	err := s.http.Serve(secured{l, s.config.Clients.TLS})
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Stop rejects new requests, cancels running ones and closes all connections, also those that handlers
// have taken over. It returns when no handler is running and nothing outlasts one, or ctx ends.
func (s *Server) Stop(ctx context.Context) {
	s.end()
	_ = s.http.Shutdown(ctx) // its error is that of ctx
	_ = s.http.Close()
	done := make(chan struct{})
	go func() {
		s.calls.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// outlast implements service.Outlast. The context keeps only the client and the trace of the request.
func (s *Server) outlast(request context.Context) (ctx context.Context, done func()) {
	s.calls.Add(1)
	return tracing.Join(auth.WithClient(s.running, auth.ClientOf(request)), request), s.calls.Done
}

// secured is a listener that adds TLS to TCP connections.
type secured struct {
	net.Listener
	config func() *tls.Config
}

// Accept waits for a connection. It does not wait for its TLS handshake.
func (l secured) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil || conn.LocalAddr().Network() != "tcp" || l.config == nil {
		return conn, err
	}
	if config := l.config(); config != nil {
		return tls.Server(conn, config), nil
	}
	return conn, nil
}

// identify adds the client of a connection without TLS to its context.
func (s *Server) identify(ctx context.Context, conn net.Conn) context.Context {
	if t, ok := conn.(*tls.Conn); ok {
		return context.WithValue(ctx, connKey{}, t.NetConn())
	}
	markAuthenticated(conn)
	return auth.WithClient(ctx, s.config.Clients.OfConn(conn))
}

type connKey struct{}

// markAuthenticated reports to the listener that the client is identified.
func markAuthenticated(conn any) {
	if a, ok := conn.(interface{ Authenticated() }); ok {
		a.Authenticated()
	}
}

// serve authorizes the client and calls the handler.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.calls.Add(1)
	defer s.calls.Done()
	ctx := r.Context()
	if r.TLS != nil {
		markAuthenticated(ctx.Value(connKey{}))
		ctx = auth.WithClient(ctx, auth.OfCertificate(*r.TLS, r.RemoteAddr))
	}

	who, began := auth.ClientOf(ctx), time.Now()
	if !who.IsAdmin() {
		refuse(w)
		s.config.Log.Warn("HTTP request refused", "client", who.String(), "path", r.URL.Path)
		return
	}

	ctx, request := s.config.Tracer.Request(ctx, tracing.Request{Name: r.Method, Get: r.Header.Get})
	defer request.End(nil) // the handler reports errors
	if request.Recorded() {
		request.Set("http.request.method", r.Method)
		request.Set("url.path", r.URL.Path)
		request.Set("client.address", who.String())
	}
	s.config.Handler.ServeHTTP(w, r.WithContext(ctx))
	s.config.Log.Debug("HTTP request", "client", who.String(), "method", r.Method, "path", r.URL.Path, "took",
		time.Since(began))
}

// refuse writes the response to unauthorized clients.
func refuse(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusForbidden)
	_ = json.NewEncoder(w).Encode(map[string]string{
		"message": "permission denied: run as root or as a member of the socket's group"})
}
