package run

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/fairlead/fairlead/agent/internal/auth"
	"github.com/fairlead/fairlead/agent/internal/proxy"
	"github.com/fairlead/fairlead/agent/internal/server"
	"github.com/fairlead/fairlead/agent/service"
	"github.com/fairlead/fairlead/proto/noderpc"
)

// configPackage is the proto package that every process implements.
const configPackage = "fairlead.agent.v1"

// hostWideKey marks a call of ConfigService on the socket of a service that is for the whole host.
const hostWideKey = "fairlead-host-wide"

// node returns the function that connects to other hosts: the service that has the credentials, in
// this process or through its socket. It is nil if there is no such service.
func (a *agent) node() server.NodeFunc {
	for _, m := range a.members {
		if dialer, ok := m.service.(service.NodeDialer); ok && m.Nodes {
			return func(ctx context.Context, name string) (server.NodeConn, error) {
				conn, err := dialer.Node(ctx, name)
				return server.NodeConn{Conn: conn}, err
			}
		}
	}
	for _, s := range a.config.options.All {
		if s.Nodes {
			through := server.NodeConn{Conn: a.config.peers.Raw(s.Name), Hops: true}
			return func(context.Context, string) (server.NodeConn, error) { return through, nil }
		}
	}
	return nil
}

// services returns the names of the gRPC services of this host, in any process.
func (a *agent) services() []string {
	packages := []string{configPackage}
	for _, s := range a.config.options.All {
		packages = append(packages, s.Packages...)
	}
	return auth.ServicesOf(packages...)
}

// newEntry returns the entry for calls of other hosts.
func (a *agent) newEntry() (*server.Entry, error) {
	return server.NewEntry(server.Config{Name: "fleet", Log: a.log, Tracer: a.tracer, Node: a.node(),
		Forward: a.forwardHere, Forwarded: a.services()})
}

// accept handles a call of another host, or of a person with a certificate of the fleet.
func (a *agent) accept(in grpc.ServerStream, certificate string) error {
	entry, err := a.entry()
	if err != nil {
		return err
	}
	return entry.Handle(in, certificate)
}

// forwardHere forwards a call to the service of this host that implements it.
func (a *agent) forwardHere(_ any, in grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(in)
	if strings.HasPrefix(method, "/"+configPackage+".") {
		return proxy.Forward(in, a.config.peers.Raw(a.members[0].Name), func(md metadata.MD) {
			noderpc.Strip(md)
			md.Set(hostWideKey, "1")
		})
	}
	return proxy.Handler(a.config.peers.Route, noderpc.Strip)(nil, in)
}

// isHostWide reports whether a call of ConfigService on the socket of a service comes from another
// host, so that it is for all processes.
func isHostWide(ctx context.Context) bool {
	return noderpc.Of(ctx) != "" || len(metadata.ValueFromIncomingContext(ctx, hostWideKey)) > 0
}
