package client

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"net"
	"path"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/noderpc"
)

// transport connects to one agent. It keeps the error of the last connection attempt, so that a
// failed call reports it in one line instead of gRPC's nested errors.
type transport struct {
	host             string
	network, address string
	tls              *tls.Config           // nil: none
	node             string                // that all calls are addressed to; empty: the agent's host
	trace            string                // that all calls are part of; empty: none
	lastDial         atomic.Pointer[error] // nil: it succeeded, or there was none
}

// maxSocketPath is the kernel's limit for the path of a Unix socket (sun_path without the final
// zero byte).
const maxSocketPath = 107

func newTransport(host string) (*transport, error) {
	scheme, address, ok := strings.Cut(host, "://")
	l := &transport{host: host, network: scheme, address: address}
	bad := func(message string) (*transport, error) {
		return nil, fault.New(fault.Invalid, "agent "+host, message, fault.WithField("host"),
			fault.WithHint("write unix:///PATH or tcp://ADDRESS:PORT"))
	}
	switch {
	case !ok:
		return bad("address has no scheme")
	case scheme == "unix" && !path.IsAbs(address):
		return bad("socket path must be absolute")
	case scheme == "unix" && len(address) > maxSocketPath:
		return bad("socket path must be shorter than 108 bytes")
	case scheme == "tcp":
		if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
			return bad("address has no port")
		}
	case scheme != "unix":
		return bad("scheme " + scheme + " is not supported")
	}

	return l, nil
}

func (l *transport) dial(ctx context.Context, _ string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: connectTimeout}).DialContext(ctx, l.network, l.address)
	if err == nil && l.tls != nil {
		conn, err = l.secure(ctx, conn)
	}
	if err != nil {
		l.lastDial.Store(&err)
		return nil, err
	}
	l.lastDial.Store(nil)
	return conn, nil
}

// secure performs the TLS handshake on a connection and closes it on failure.
func (l *transport) secure(ctx context.Context, plain net.Conn) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn := tls.Client(plain, l.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, plain.Close())
	}
	return conn, nil
}

func (l *transport) refused(alert error) error {
	return fault.New(fault.Denied, "agent "+l.host, "certificate refused by the agent", fault.WithCause(alert),
		fault.WithHint("use a certificate that the agent's CA has signed (--tlscert, --tlskey)"))
}

// refusal returns the TLS alert with which the agent rejects the client's certificate, or nil. In
// TLS 1.3 the agent verifies the certificate after the client's handshake is complete. Data that
// the client sends by then resets the connection, and the alert is lost. So refusal connects again
// and sends nothing.
func (l *transport) refusal(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := l.dial(ctx, "")
	if err == nil {
		defer func() { _ = conn.Close() }()
		deadline, _ := ctx.Deadline()
		_ = conn.SetReadDeadline(deadline)
		_, err = conn.Read(make([]byte, 1)) // an agent that accepts the certificate sends its settings immediately
	}
	return alertOf(err)
}

// alertOf returns the TLS alert that the agent sent, nil if err is not one. crypto/tls has no exported type for it.
func alertOf(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return op.Err
	}
	return nil
}

// explain replaces gRPC's error of a broken connection with a fault of one line. Other errors are
// returned unchanged.
func (l *transport) explain(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		return fault.New(fault.Internal, "agent "+l.host, "canceled the call", fault.WithHint("see the agent's log"))
	}

	f, ok := errors.AsType[*fault.Fault](err)
	switch {
	case !ok || f.Kind != fault.Unavailable || f.Subject != "":
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case nearDeadline(ctx):
		return context.DeadlineExceeded
	}

	if dialErr := l.lastDial.Load(); dialErr != nil {
		return l.unreachable(*dialErr)
	}

	return l.lost(ctx, f.Message)
}

// lost describes a connection that ended during a call.
func (l *transport) lost(ctx context.Context, message string) error {
	subject, hint := "agent "+l.host, "containers keep running without the agent"
	if l.tls != nil {
		if refusal := l.refusal(ctx); refusal != nil {
			return l.refused(refusal)
		}
	}

	if l.network == "tcp" && l.tls == nil {
		hint = "if it requires TLS, use --tlsverify and a certificate signed by its CA; containers keep running " +
			"without the agent"
	}

	return fault.New(fault.Unavailable, subject, "connection lost: "+message, fault.WithHint("%s", hint),
		fault.WithReason(fault.ReasonConnectionLost))
}

// nearDeadline reports whether the deadline of ctx is so near that the agent can have ended the
// call for it.
func nearDeadline(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) < 50*time.Millisecond
}

func (l *transport) unreachable(err error) error {
	cause := err
	if op, ok := errors.AsType[*net.OpError](err); ok {
		cause = op.Err
	}

	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		cause = errno
	}

	hint := "start fairlead-agent, or set its address with -H or FAIRLEAD_HOST"
	if alert := alertOf(err); alert != nil {
		return l.refused(alert)
	}

	if errno := syscall.Errno(0); l.tls != nil && !errors.As(err, &errno) {
		return fault.New(fault.Unavailable, "agent "+l.host, "TLS handshake failed: "+err.Error(),
			fault.WithHint("check both certificates"))
	}
	if errors.Is(err, fs.ErrPermission) {
		hint = "run as root or as a member of the socket's group"
	}

	return fault.New(fault.Unavailable, "agent "+l.host, "cannot connect", fault.WithCause(cause),
		fault.WithHint("%s", hint))
}

// outgoing returns the context of a call with its metadata.
func (l *transport) outgoing(ctx context.Context) context.Context {
	if l.trace != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "traceparent", l.trace)
	}
	return noderpc.To(ctx, l.node)
}

func (l *transport) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn,
	invoke grpc.UnaryInvoker,
	opts ...grpc.CallOption,
) error {
	return l.explain(ctx, invoke(l.outgoing(ctx), method, req, reply, cc, opts...))
}

func (l *transport) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string,
	open grpc.Streamer,
	opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	s, err := open(l.outgoing(ctx), desc, cc, method, opts...)
	if err != nil {
		return nil, l.explain(ctx, err)
	}
	return explainedStream{s, ctx, l}, nil
}

// explainedStream is a client stream whose errors are passed through explain.
type explainedStream struct {
	grpc.ClientStream
	caller context.Context // the stream's own context is always canceled when the stream ends
	link   *transport
}

func (s explainedStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err == nil || err == io.EOF {
		return err
	}
	return s.link.explain(s.caller, err)
}
