package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/fairlead/fairlead/agent/internal/auth"
	"github.com/fairlead/fairlead/agent/internal/proxy"
	"github.com/fairlead/fairlead/agent/internal/traces"
	"github.com/fairlead/fairlead/agent/metrics"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/faultrpc"
	"github.com/fairlead/fairlead/proto/noderpc"
)

// readyTimeout is the time that a call waits for a service that is starting.
const readyTimeout = 30 * time.Second

// calls is the interceptor of all calls.
type calls struct {
	name     string
	log      *slog.Logger
	tracer   *traces.Tracer
	roles    auth.Roles
	audience auth.Audience

	times   metrics.Times // of finished calls
	watches budget        // subscriptions of events
	node    NodeFunc

	ready   chan struct{} // closed when the service is ready
	opening sync.Once
	running context.Context // ends when streams must
	end     context.CancelCauseFunc
}

func newCalls(cfg Config) *calls {
	c := &calls{name: cfg.Name, log: cfg.Log, tracer: cfg.Tracer, audience: cfg.Audience, node: cfg.Node,
		watches: budget{limit: maxWatches}, ready: make(chan struct{})}
	c.running, c.end = context.WithCancelCause(context.Background())
	return c
}

func (c *calls) open() { c.opening.Do(func() { close(c.ready) }) }

func (c *calls) cancelStreams() {
	c.end(fault.New(fault.Unavailable, "agent", "is stopping", fault.WithHint("retry when it is running again"),
		fault.WithReason(fault.ReasonConnectionLost)))
}

func (c *calls) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any,
	err error) {
	err = c.serve(ctx, info.FullMethod, func(ctx context.Context) error {
		to, err := c.nodeOf(ctx)
		switch {
		case err != nil:
			return err
		case to.Conn != nil:
			resp, err = proxy.Unary(ctx, to.Conn, info.FullMethod, req, c.change(ctx, to))
			return err
		}
		if err = rejectUnknown(req); err == nil {
			resp, err = handler(ctx, req)
		}
		return err
	})
	return resp, err
}

func (c *calls) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, cancel := context.WithCancelCause(ss.Context())
	defer cancel(nil)
	defer context.AfterFunc(c.running, func() { cancel(context.Cause(c.running)) })()
	return c.serve(ctx, info.FullMethod, func(ctx context.Context) error {
		// On service sockets, the calls of all clients come from one peer.
		if c.audience == auth.Admins && strings.HasSuffix(info.FullMethod, "/WatchEvents") {
			release, err := c.watches.take(auth.IdentityOf(ctx).Peer())
			if err != nil {
				return err
			}
			defer release()
		}
		to, err := c.nodeOf(ctx)
		switch {
		case err != nil:
			return err
		case to.Conn != nil:
			err = proxy.Forward(endableStream{ss, ctx}, to.Conn, c.change(ctx, to))
		default:
			err = handler(srv, endableStream{ss, ctx})
		}
		if cause, ok := errors.AsType[*fault.Fault](context.Cause(ctx)); ok && err != nil {
			return cause
		}
		return err
	})
}

// nodeOf returns the connection for a call that is addressed to another host.
func (c *calls) nodeOf(ctx context.Context) (NodeConn, error) {
	node := noderpc.Of(ctx)
	switch {
	case node == "":
		return NodeConn{}, nil
	case c.node == nil:
		return NodeConn{}, fault.New(fault.Invalid, "host "+node, "cannot be reached by service "+c.name,
			fault.WithHint("call the public socket of the agent"))
	}
	return c.node(ctx, node)
}

// change returns the change of the metadata of a call that is forwarded: on the last hop its address is
// removed. Peers have named their client, who stays named.
func (c *calls) change(ctx context.Context, to NodeConn) func(metadata.MD) {
	return func(md metadata.MD) {
		if !to.Hops {
			noderpc.Strip(md)
		}
		if client := auth.NamedClient(ctx); client != "" && c.audience == auth.Peers {
			md.Set(auth.ClientHeader, client)
		}
	}
}

// endableStream is a stream whose context also ends when the server stops.
type endableStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s endableStream) Context() context.Context { return s.ctx }

// serve authorizes and runs a call, and logs it.
func (c *calls) serve(ctx context.Context, method string, handle func(context.Context) error) error {
	began, who := time.Now(), auth.IdentityOf(ctx)
	ctx, request := c.trace(ctx, method)
	err := c.roles.Authorize(c.audience, who, method)
	if err == nil {
		err = c.waitReady(ctx, method)
	}
	if err == nil {
		err = recovered(method, func() error { return handle(ctx) })
	}
	sent := faultrpc.ToStatus(err)
	endTrace(request, sent)
	c.write(ctx, method, who, time.Since(began), err, sent)
	return sent
}

// waitReady waits until the service is ready. Health and reflection are always available.
func (c *calls) waitReady(ctx context.Context, method string) error {
	if auth.IsInfrastructure(method) {
		return nil
	}

	select {
	case <-c.ready:
		return nil
	default:
	}

	limit := time.NewTimer(readyTimeout)
	defer limit.Stop()
	select {
	case <-c.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.running.Done():
		return context.Cause(c.running)
	case <-limit.C:
		return fault.New(fault.Unavailable, "service "+c.name, "is still starting",
			fault.WithHint("see the agent's log"))
	}
}

// panicked is the error of a handler that panicked.
type panicked struct {
	value any
	stack string
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

func recovered(method string, handle func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fault.New(fault.Internal, strings.TrimPrefix(method, "/"), "internal error",
				fault.WithCause(&panicked{v, string(debug.Stack())}),
				fault.WithHint("see the agent's log"))
		}
	}()
	return handle()
}

func (c *calls) write(ctx context.Context, method string, who auth.Identity, took time.Duration, err, sent error) {
	code := status.Code(sent)
	c.times.Add(took, c.label(method), code.String())
	attrs := []slog.Attr{
		slog.String("server", c.name), slog.String("method", strings.TrimPrefix(method, "/")),
		slog.String("peer", who.String()),
		slog.Duration("took", took), slog.String("code", code.String()),
	}
	if client := auth.NamedClient(ctx); client != "" && c.audience == auth.Peers {
		attrs = append(attrs, slog.String("client", client))
	}
	if f, ok := errors.AsType[*fault.Fault](faultrpc.FromStatus(sent)); ok {
		attrs = append(attrs, slog.String("subject", f.Subject), slog.String("error", f.Error()))
	}
	if p, ok := errors.AsType[*panicked](err); ok {
		attrs = append(attrs, slog.String("stack", p.stack))
	}

	c.log.LogAttrs(ctx, levelOf(method, code), "call", attrs...)
}

// label returns the label of a method in metrics. Names of methods that do not exist come from clients.
func (c *calls) label(method string) string {
	if _, known := c.roles[method]; !known {
		return metrics.Other
	}
	return strings.TrimPrefix(method, "/")
}

func levelOf(method string, code codes.Code) slog.Level {
	switch {
	case code == codes.Internal || code == codes.Unknown:
		return slog.LevelError
	case code == codes.PermissionDenied || code == codes.Unavailable:
		return slog.LevelWarn
	case auth.IsInfrastructure(method) || reads(method):
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// reads reports whether a call changes nothing that users change, according to its name. LearnAddresses is
// called for answers of the name server.
func reads(method string) bool {
	name := method[strings.LastIndexByte(method, '/')+1:]
	for _, verb := range []string{"LearnAddresses", "Get", "List", "Read", "Watch", "Wait", "ExplainConnection",
		"Diagnose", "CheckHostFirewall"} {
		if rest, ok := strings.CutPrefix(name, verb); ok && (rest == "" || rest[0] >= 'A' && rest[0] <= 'Z') {
			return true
		}
	}
	return false
}

// RecvMsg rejects requests with unknown fields. A forwarded call is received as an empty message
// with only unknown fields; the server that it is forwarded to checks it.
func (s endableStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if _, forwarded := m.(*emptypb.Empty); forwarded {
		return nil
	}
	return rejectUnknown(m)
}
