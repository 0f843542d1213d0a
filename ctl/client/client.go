// Package client is a Go client of fairlead-agent, for the fairlead command and for other programs.
//
// Dial returns a Client, which connects with the first call. Client holds the generated clients of
// the agent's services. Run, Attach and Exec return a Session with the standard streams of a
// process. Create, Pull, Load and Import read a response stream and return its result.
//
// Every error of the agent is a *fault.Fault (package proto/fault): fault.KindOf returns its kind,
// fault.ReasonOf its machine-readable reason. An unreachable agent is a fault of kind Unavailable.
// A call that is canceled returns the error of its context.
//
// The package does not read flags or environment variables and does not print.
package client

import (
	"context"
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
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/proto/noderpc"
)

// DefaultHost is the default address of the agent.
const DefaultHost = "unix:///run/fairlead/fairlead.sock"

const (
	connectTimeout = 5 * time.Second
	// maxResponse fits a list of tens of thousands of containers.
	maxResponse = 64 << 20
	// window is the flow control window on a Unix socket. It fits a page of a list, so that the agent
	// sends it without waiting.
	window = 2 << 20
)

// Client is a connection to one agent. It is safe for concurrent use.
type Client struct {
	// Containers manages containers.
	Containers containerv1.ContainerServiceClient
	// Images manages images.
	Images containerv1.ImageServiceClient
	// Volumes manages volumes.
	Volumes containerv1.VolumeServiceClient
	// Files reads the files of containers.
	Files containerv1.FileServiceClient
	// Networks manages networks.
	Networks networkv1.NetworkServiceClient
	// Firewall reports the firewall backend and its state.
	Firewall natv1.FirewallServiceClient
	// Publications explains connections to published ports.
	Publications natv1.PublicationServiceClient
	// Policies lists egress policies and what they refused.
	Policies natv1.PolicyServiceClient
	// NamedPolicies manages policies that select containers.
	NamedPolicies containerv1.NamedPolicyServiceClient
	// Connections lists the connections of containers.
	Connections natv1.ConnectionServiceClient
	// DNSQueries lists the DNS questions of containers.
	DNSQueries dnsv1.QueryServiceClient
	// DNSRecords manages the records of the embedded resolver.
	DNSRecords dnsv1.RecordServiceClient
	// DNSForwards manages the servers of domains that the embedded resolver asks.
	DNSForwards dnsv1.ForwardServiceClient
	// Names compares DNS registrations with the name files of containers.
	Names dnsv1.NameServiceClient
	// Host reports the features of the host and the agent.
	Host hostv1.HostServiceClient
	// Fleet manages the hosts of a fleet.
	Fleet fleetv1.FleetServiceClient
	// Config shows and reloads the agent's configuration.
	Config agentv1.ConfigServiceClient

	link *transport
	conn *grpc.ClientConn
}

// Option changes how Dial connects.
type Option func(*transport)

// WithTLS uses TLS for tcp:// agents and is ignored for Unix sockets. Without a server name in cfg,
// the agent's certificate must be valid for the host of the address.
func WithTLS(cfg *tls.Config) Option {
	return func(l *transport) {
		if l.network != "tcp" {
			return
		}
		l.tls = cfg.Clone()
		l.tls.NextProtos = []string{"h2"}
		if l.tls.ServerName == "" {
			l.tls.ServerName, _, _ = net.SplitHostPort(l.address) // validated by newTransport
		}
	}
}

// WithNode addresses all calls to another host of the agent's fleet, by name or ID. The agent forwards
// them, if it is a manager. OnNode does the same for single calls.
func WithNode(name string) Option { return func(l *transport) { l.node = name } }

// WithTrace makes all calls part of a trace, which the agent sends to its collector. parent is a
// traceparent of W3C Trace Context; an invalid one has no effect.
func WithTrace(parent string) Option { return func(l *transport) { l.trace = parent } }

// OnNode returns a context whose calls are addressed to another host of the agent's fleet.
func OnNode(ctx context.Context, name string) context.Context { return noderpc.To(ctx, name) }

// Dial returns a client of the agent at host: unix:///PATH or tcp://ADDRESS:PORT. It performs no
// I/O; the first call connects.
func Dial(host string, options ...Option) (*Client, error) {
	l, err := newTransport(host)
	if err != nil {
		return nil, err
	}

	for _, option := range options {
		option(l)
	}

	var flow []grpc.DialOption
	if l.network == "unix" {
		flow = []grpc.DialOption{grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window)}
	}

	// The passthrough scheme and the dialer disable name resolution, proxies and service
	// configuration.
	conn, err := grpc.NewClient("passthrough:///agent", append(flow,
		grpc.WithContextDialer(l.dial),
		grpc.WithAuthority("localhost"),
		// The dialer performs the TLS handshake, so that it can report certificate errors.
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableServiceConfig(),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: connectTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxResponse)),
		grpc.WithChainUnaryInterceptor(l.unary, faultrpc.UnaryClient),
		grpc.WithChainStreamInterceptor(l.stream, faultrpc.StreamClient))...,
	)
	if err != nil {
		return nil, fmt.Errorf("agent %s: %w", host, err)
	}

	return &Client{
		Containers:    containerv1.NewContainerServiceClient(conn),
		Images:        containerv1.NewImageServiceClient(conn),
		Volumes:       containerv1.NewVolumeServiceClient(conn),
		Files:         containerv1.NewFileServiceClient(conn),
		Networks:      networkv1.NewNetworkServiceClient(conn),
		Firewall:      natv1.NewFirewallServiceClient(conn),
		Publications:  natv1.NewPublicationServiceClient(conn),
		Policies:      natv1.NewPolicyServiceClient(conn),
		NamedPolicies: containerv1.NewNamedPolicyServiceClient(conn),
		Connections:   natv1.NewConnectionServiceClient(conn),
		DNSQueries:    dnsv1.NewQueryServiceClient(conn),
		DNSRecords:    dnsv1.NewRecordServiceClient(conn),
		DNSForwards:   dnsv1.NewForwardServiceClient(conn),
		Names:         dnsv1.NewNameServiceClient(conn),
		Host:          hostv1.NewHostServiceClient(conn),
		Fleet:         fleetv1.NewFleetServiceClient(conn),
		Config:        agentv1.NewConfigServiceClient(conn),
		link:          l,
		conn:          conn,
	}, nil
}

// Address returns the host that was passed to Dial.
func (c *Client) Address() string { return c.link.host }

// Close closes the connection and cancels all pending calls. Containers keep running.
func (c *Client) Close() error { return c.conn.Close() }
