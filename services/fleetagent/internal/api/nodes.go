package api

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/netip"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/fairlead/fairlead/proto/fault"
)

// Limits of connections between agents. A host that is lost without a sign ends its streams after
// keepaliveTime and keepaliveTimeout.
const (
	nodeTimeout      = 2 * time.Second // until a connection is established
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 5 * time.Second
	keepaliveMinimum = 5 * time.Second // that a server accepts
)

// Nodes holds the connections to the agents of other hosts. They are lazy. It is safe for concurrent
// use.
type Nodes struct {
	mu     sync.Mutex
	conns  map[string]*nodeConn // by host ID
	closed bool
}

// NewNodes returns no connections.
func NewNodes() *Nodes { return &Nodes{conns: map[string]*nodeConn{}} }

// Conn is a connection to the agent of another host.
type Conn = grpc.ClientConnInterface

// Target is the agent of another host.
type Target struct {
	ID, Name string
	Address  netip.AddrPort
	TLS      *tls.Config // of the first connection
}

// Conn returns the connection to a host, which is replaced if its address has changed.
func (n *Nodes) Conn(t Target) (Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.conns[t.ID]
	if old != nil && old.target.Address == t.Address && old.target.Name == t.Name {
		return old, nil
	}
	if n.closed {
		return nil, fault.New(fault.Unavailable, "host "+t.Name, "cannot be reached: this host has left the fleet")
	}

	conn, err := grpc.NewClient("passthrough:///"+t.Address.String(),
		grpc.WithTransportCredentials(credentials.NewTLS(t.TLS)), grpc.WithNoProxy(),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: nodeTimeout, Backoff: backoff.Config{
			BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: .2, MaxDelay: time.Second}}))
	if err != nil {
		return nil, fault.New(fault.Internal, "host "+t.Name, "cannot be called", fault.WithCause(err))
	}
	if old != nil {
		_ = old.conn.Close()
	}
	n.conns[t.ID] = &nodeConn{t, conn}
	return n.conns[t.ID], nil
}

// Close closes all connections.
func (n *Nodes) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	var all error
	for _, c := range n.conns {
		all = errors.Join(all, c.conn.Close())
	}
	return all
}

// nodeConn is a connection whose errors name the host. It implements grpc.ClientConnInterface.
type nodeConn struct {
	target Target
	conn   *grpc.ClientConn
}

// Invoke makes a call.
func (c *nodeConn) Invoke(ctx context.Context, method string, req, reply any, opts ...grpc.CallOption) error {
	if err := c.wait(ctx); err != nil {
		return err
	}
	return c.explain(c.conn.Invoke(ctx, method, req, reply, opts...))
}

// NewStream opens a stream.
func (c *nodeConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string,
	opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if err := c.wait(ctx); err != nil {
		return nil, err
	}
	s, err := c.conn.NewStream(ctx, desc, method, opts...)
	if err != nil {
		return nil, c.explain(err)
	}
	return nodeStream{s, c}, nil
}

// wait waits until the host is connected, at most for nodeTimeout.
func (c *nodeConn) wait(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	for state := c.conn.GetState(); state != connectivity.Ready; state = c.conn.GetState() {
		if state == connectivity.Shutdown {
			return c.unreachable()
		}
		c.conn.Connect()
		if !c.conn.WaitForStateChange(limited, state) {
			if err := ctx.Err(); err != nil {
				return err
			}
			return c.unreachable()
		}
	}
	return nil
}

func (c *nodeConn) unreachable() error {
	return fault.New(fault.Unavailable, "host "+c.target.Name, "does not answer at "+c.target.Address.String(),
		fault.WithHint("check whether it is running and reachable: fairlead fleet ls"),
		fault.WithReason(fault.ReasonUnreachable))
}

// explain names the host if the connection was lost. Errors of the host itself have details.
func (c *nodeConn) explain(err error) error {
	s, ok := status.FromError(err)
	if err == nil || !ok || s.Code() != codes.Unavailable || len(s.Details()) > 0 {
		return err
	}
	return fault.New(fault.Unavailable, "host "+c.target.Name, "connection lost: "+s.Message(),
		fault.WithHint("containers keep running without it"), fault.WithReason(fault.ReasonConnectionLost))
}

// nodeStream is a stream whose errors name the host.
type nodeStream struct {
	grpc.ClientStream
	conn *nodeConn
}

// RecvMsg receives a message.
func (s nodeStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return s.conn.explain(err)
}
