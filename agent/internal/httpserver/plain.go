package httpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// writeTimeout bounds a response of a Plain server.
const writeTimeout = 30 * time.Second

// Plain is an HTTP server for reading. Every client that can connect is served: access is that of the
// socket, and with TLS a certificate of the CA.
type Plain struct {
	http *http.Server
	tls  func() *tls.Config
}

// NewPlain returns a server. secured returns the TLS configuration; nil means no TLS.
func NewPlain(log *slog.Logger, secured func() *tls.Config, handler http.Handler) *Plain {
	return &Plain{tls: secured, http: &http.Server{
		Handler:           authenticated(handler),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       headerTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			if t, ok := conn.(*tls.Conn); ok {
				conn = t.NetConn()
			}
			return context.WithValue(ctx, connKey{}, conn)
		},
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}}
}

// authenticated reports to the listener that a client has sent a request, after its TLS handshake.
func authenticated(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		markAuthenticated(r.Context().Value(connKey{}))
		handler.ServeHTTP(w, r)
	})
}

// Serve serves a listener until Stop. It closes the listener.
func (p *Plain) Serve(l net.Listener) error {
	err := p.http.Serve(secured{l, p.tls})
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Stop closes the listeners, and the connections when their requests are answered or ctx ends.
func (p *Plain) Stop(ctx context.Context) {
	_ = p.http.Shutdown(ctx) // its error is that of ctx
	_ = p.http.Close()
}
