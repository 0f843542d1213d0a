// Package client talks to a fairlead-agent. The fairlead command line is its first user; it is made for other programs as well.
//
// Dial gives a Client at once and connects with the first call. The client carries the generated clients of the agent's
// services, for all plain calls, and methods for those that are conversations: Run, Attach and Exec give a Session, which joins
// a process in a container to readers and writers; Create, Pull, Load and Import turn a stream into one result.
//
// Every error that comes from the agent is a *fault.Fault (package proto/fault): ask for its class with fault.KindOf and for
// its word for programs with fault.ReasonOf. An agent that cannot be reached is a fault of the kind Unavailable. A call that
// was ended through its context gives the context's error.
//
// The package neither reads flags and environment variables nor prints; that is package ctl/internal/command's.
package client

import (
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/fairlead/fairlead/proto/faultrpc"
	agentv1 "github.com/fairlead/fairlead/proto/gen/fairlead/agent/v1"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// DefaultHost is where an agent listens unless it is told otherwise.
const DefaultHost = "unix:///run/fairlead/fairlead.sock"

const (
	connectTimeout = 5 * time.Second
	// maxAnswer lets tens of thousands of containers be listed in one answer.
	maxAnswer = 64 << 20
)

// Client is a connection to one agent. It may be used by several goroutines.
type Client struct {
	// Containers runs containers.
	Containers containerv1.ContainerServiceClient
	// Images keeps images.
	Images containerv1.ImageServiceClient
	// Networks tells which networks there are.
	Networks networkv1.NetworkServiceClient
	// Firewall tells how networks are guarded.
	Firewall natv1.FirewallServiceClient
	// Publications tells what becomes of connections to published ports.
	Publications natv1.PublicationServiceClient
	// Names compares the containers' names with their files.
	Names dnsv1.NameServiceClient
	// Host tells about the machine and the agent.
	Host hostv1.HostServiceClient
	// Config shows and renews the agent's configuration.
	Config agentv1.ConfigServiceClient

	link *transport
	conn *grpc.ClientConn
}

// Option is how an agent is to be talked to.
type Option func(*transport)

// WithTLS has tcp:// agents be talked to by TLS. Without a name in it, the agent's certificate must be one for the host's. Sockets of
// this machine need none.
func WithTLS(cfg *tls.Config) Option {
	return func(l *transport) {
		if l.network != "tcp" {
			return
		}
		l.tls = cfg.Clone()
		l.tls.NextProtos = []string{"h2"}
		if l.tls.ServerName == "" {
			l.tls.ServerName, _, _ = net.SplitHostPort(l.address) // which newLink has read
		}
	}
}

// Dial prepares a connection to the agent at host: unix:///PATH or tcp://ADDRESS:PORT. It does no I/O; the first call connects.
func Dial(host string, options ...Option) (*Client, error) {
	l, err := newLink(host)
	if err != nil {
		return nil, err
	}
	for _, option := range options {
		option(l)
	}
	// The passthrough scheme and the dialer keep name look-ups, proxies and service configuration out of the way.
	conn, err := grpc.NewClient("passthrough:///agent",
		grpc.WithContextDialer(l.dial),
		grpc.WithAuthority("localhost"),
		// TLS is the dialer's, too, so that it can say what is wrong with a certificate.
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableServiceConfig(),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: connectTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
		grpc.WithChainUnaryInterceptor(l.unary, faultrpc.UnaryClient),
		grpc.WithChainStreamInterceptor(l.stream, faultrpc.StreamClient),
	)
	if err != nil {
		return nil, fmt.Errorf("agent %s: %w", host, err)
	}
	return &Client{
		Containers:   containerv1.NewContainerServiceClient(conn),
		Images:       containerv1.NewImageServiceClient(conn),
		Networks:     networkv1.NewNetworkServiceClient(conn),
		Firewall:     natv1.NewFirewallServiceClient(conn),
		Publications: natv1.NewPublicationServiceClient(conn),
		Names:        dnsv1.NewNameServiceClient(conn),
		Host:         hostv1.NewHostServiceClient(conn),
		Config:       agentv1.NewConfigServiceClient(conn),
		link:         l,
		conn:         conn,
	}, nil
}

// Address is the host that the client was dialled with.
func (c *Client) Address() string { return c.link.host }

// Close ends the connection and every call that is under way. Containers run on.
func (c *Client) Close() error { return c.conn.Close() }
