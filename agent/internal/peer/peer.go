// Package peer connects to another service of the host, or to an agent. Connections are lazy, and
// are restored when the other side restarts.
package peer

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/crashpoint"
	"github.com/fairlead/fairlead/agent/tracing"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/faultrpc"
)

// connectTimeout is the time that a call waits for a connection, so that services can start in any
// order.
const connectTimeout = 10 * time.Second

// attempts is the maximum number of attempts of a call whose connection breaks. Calls can be
// repeated because creates and releases are idempotent.
const attempts = 5

// Flow control windows on Unix sockets. That of a connection fits the page of a list, so that the other side
// sends it without waiting. That of a stream bounds what is buffered for a client that does not read.
const (
	connWindow   = 2 << 20
	streamWindow = 256 << 10
)

// Dial returns a connection whose calls return faults. name denotes the other side in messages.
func Dial(name string, host config.Host) (*grpc.ClientConn, error) {
	w := readyInterceptor{name, host, connectTimeout}
	return dial(host,
		grpc.WithChainUnaryInterceptor(faultrpc.UnaryClient, w.unary),
		grpc.WithChainStreamInterceptor(faultrpc.StreamClient, w.stream))
}

// DialRaw returns a connection whose calls return unchanged statuses.
func DialRaw(name string, host config.Host) (*grpc.ClientConn, error) {
	w := readyInterceptor{name, host, connectTimeout}
	return dial(host, grpc.WithChainUnaryInterceptor(w.unary), grpc.WithChainStreamInterceptor(w.stream))
}

func dial(host config.Host, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	target := host.String()
	if host.Network == "tcp" {
		target = "passthrough:///" + host.Address
	} else {
		options = append(options, grpc.WithInitialWindowSize(streamWindow), grpc.WithInitialConnWindowSize(connWindow))
	}
	conn, err := grpc.NewClient(target, append(options,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2,
				MaxDelay: 500 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}))...)
	return conn, fault.Wrap(err, fault.Invalid, "host "+host.String(), "cannot be called")
}

// readyInterceptor delays calls until there is a connection.
type readyInterceptor struct {
	name  string
	host  config.Host
	limit time.Duration
}

func (w readyInterceptor) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn,
	invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	ctx = traced(ctx)
	for attempt := 1; ; attempt++ {
		if err := w.wait(ctx, cc); err != nil {
			return err
		}
		err := around(method, func() error { return invoke(ctx, method, req, reply, cc, opts...) })
		if hasTimedOut(err) {
			return fault.New(fault.Unavailable, w.name, "did not respond in time",
				fault.WithHint("see its log; if the host is overloaded, try again"),
				fault.WithReason(fault.ReasonUnreachable))
		}
		if !isConnectionLost(err) || attempt == attempts || ctx.Err() != nil {
			return err
		}
	}
}

// hasTimedOut reports whether a call exceeded its time limit. It returns false if the service itself
// reports a time-out, with details.
func hasTimedOut(err error) bool {
	s, ok := status.FromError(err)
	return ok && s.Code() == codes.DeadlineExceeded && len(s.Details()) == 0
}

// around makes a call between two crash points. A failure at the second one means that the response
// is lost.
func around(method string, call func() error) error {
	if err := crashpoint.Before(crashpoint.Call, method); err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	err := call()
	if lost := crashpoint.After(crashpoint.Call, method); lost != nil {
		return status.Error(codes.DeadlineExceeded, lost.Error())
	}
	return err
}

// isConnectionLost reports whether the connection broke during a call, for example by a restart.
// Errors of the service itself have details.
func isConnectionLost(err error) bool {
	s, ok := status.FromError(err)
	return ok && s.Code() == codes.Unavailable && len(s.Details()) == 0
}

func (w readyInterceptor) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string,
	open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if err := w.wait(ctx, cc); err != nil {
		return nil, err
	}
	return open(traced(ctx), desc, cc, method, opts...)
}

// traced adds the trace that a call belongs to to its metadata.
func traced(ctx context.Context) context.Context {
	tracing.Inject(ctx, func(key, value string) {
		md, _ := metadata.FromOutgoingContext(ctx)
		md = md.Copy()
		md.Set(key, value) // in place of that of the client
		ctx = metadata.NewOutgoingContext(ctx, md)
	})
	return ctx
}

func (w readyInterceptor) wait(ctx context.Context, cc *grpc.ClientConn) error {
	if cc.GetState() == connectivity.Ready {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, w.limit)
	defer cancel()
	for state := cc.GetState(); state != connectivity.Ready; state = cc.GetState() {
		if state == connectivity.Shutdown {
			return fault.New(fault.Unavailable, w.name, "the connection is closed")
		}
		cc.Connect()
		if !cc.WaitForStateChange(limited, state) {
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return fault.New(fault.Unavailable, w.name, "is not responding at "+w.host.String(),
				fault.WithHint("check whether it is running, and its log"), fault.WithReason(fault.ReasonUnreachable))
		}
	}
	return nil
}
