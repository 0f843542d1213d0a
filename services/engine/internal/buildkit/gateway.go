package buildkit

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// Config holds the services that are called.
type Config struct {
	Builder containerv1.BuilderServiceClient
	Images  containerv1.ImageServiceClient
}

// Gateway connects clients to BuildKit. It has no state, except the open sessions.
type Gateway struct {
	cfg Config

	mu       sync.Mutex
	sessions map[string]*session
	changed  chan struct{} // closed and replaced with each new session
}

// New returns a Gateway.
func New(cfg Config) *Gateway {
	return &Gateway{cfg: cfg, sessions: map[string]*session{}, changed: make(chan struct{})}
}

// BuildKit is a running BuildKit.
type BuildKit struct {
	conn   *grpc.ClientConn
	cancel context.CancelFunc
	ended  atomic.Bool // it has ended, or the supervisor has
}

// Open starts BuildKit if it does not run, and keeps it running until Close. With onlyIfUsed it fails
// with NotFound if there is no build cache. The client of ctx must be allowed to build.
func (g *Gateway) Open(ctx context.Context, onlyIfUsed bool) (*BuildKit, error) {
	ctx, cancel := context.WithCancel(ctx)
	use, err := g.cfg.Builder.UseBuilder(ctx, &containerv1.UseBuilderRequest{OnlyIfUsed: onlyIfUsed})
	if err == nil {
		var m *containerv1.UseBuilderResponse
		if m, err = use.Recv(); err == nil {
			var conn *grpc.ClientConn
			if conn, err = dial(m.GetSocketPath()); err == nil {
				bk := &BuildKit{conn: conn, cancel: cancel}
				go bk.watch(use)
				return bk, nil
			}
		}
	}
	cancel()
	if errors.Is(err, io.EOF) {
		err = fault.New(fault.Unavailable, "BuildKit", "has ended")
	}
	return nil, err
}

// watch closes the connection when the use ends. A BuildKit whose supervisor was killed ends only when it has no
// connection.
func (b *BuildKit) watch(use grpc.ServerStreamingClient[containerv1.UseBuilderResponse]) {
	_, _ = use.Recv() // nothing follows the first response
	b.ended.Store(true)
	_ = b.conn.Close()
}

// reason returns the error of a build: that BuildKit has ended, if it has.
func (b *BuildKit) reason(err error) error {
	if err != nil && b.ended.Load() {
		return status.Error(codes.Unavailable, "BuildKit has ended; run the build again")
	}
	return err
}

// Close ends the use of BuildKit.
func (b *BuildKit) Close() {
	_ = b.conn.Close()
	b.cancel()
}

// Control serves a client's connection of POST /grpc until it is closed.
func (g *Gateway) Control(ctx context.Context, bk *BuildKit, conn net.Conn) {
	serveOn(ctx, conn, func(_ any, in grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(in)
		switch method {
		case methodSolve:
			return unary(in, func(ctx context.Context, req []byte) ([]byte, error) { return g.solve(ctx, bk, req) })
		case methodWorkers:
			return unary(in, bk.workers)
		case methodGatewaySolve:
			return unary(in, bk.gatewaySolve)
		}
		return forward(in, method, bk.conn)
	})
}

// add makes a session known to builds.
func (g *Gateway) add(s *session) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sessions[s.id] != nil {
		return fault.New(fault.Conflict, "session "+s.id, "is open already")
	}
	g.sessions[s.id] = s
	close(g.changed)
	g.changed = make(chan struct{})
	return nil
}

func (g *Gateway) remove(s *session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.sessions, s.id)
}

// session returns an open session. It waits for one: clients open it concurrently with the build.
func (g *Gateway) session(ctx context.Context, id string) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	for {
		g.mu.Lock()
		s, changed := g.sessions[id], g.changed
		g.mu.Unlock()
		if s != nil {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fault.New(fault.Invalid, "build", "no session with the ID "+id+" is open")
		}
	}
}
