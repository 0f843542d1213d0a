package run

import (
	"context"
	"os"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/fairlead/fairlead/agent/internal/auth"
	"github.com/fairlead/fairlead/agent/internal/httpserver"
	"github.com/fairlead/fairlead/agent/internal/listen"
	"github.com/fairlead/fairlead/agent/service"
	"github.com/fairlead/fairlead/proto/fault"
)

// listenHTTP opens the HTTP sockets of a service, if it has any.
func (a *agent) listenHTTP(ctx context.Context, o Options, m *member) error {
	if m.HTTP == nil {
		return nil
	}
	handler, ok := m.service.(service.HTTPServer)
	if !ok {
		return fault.New(fault.Internal, "service "+m.Name, "has sockets for HTTP but no handler")
	}

	owners, err := listen.GroupAccess(m.HTTP.Group)
	if err != nil {
		return err
	}
	listeners, err := open(ctx, o.Log, m.HTTP.Hosts(o.Config), owners, socketsNamed(o.Sockets, m.HTTP.FDName))
	if err != nil {
		return err
	}
	served := httpserver.New(httpserver.Config{Log: o.Log.With("service", m.Name), Tracer: a.tracer,
		Clients: a.credentials(m.HTTP.Group), Handler: handler.Handler()})
	m.http = &socket{m.Name + " HTTP", served, listeners}
	return nil
}

// publicSockets returns the sockets passed by systemd that no service serves HTTP on.
func (a *agent) publicSockets(o Options) []*os.File {
	return slices.DeleteFunc(slices.Clone(o.Sockets), func(f *os.File) bool {
		return slices.ContainsFunc(o.All, func(s service.Spec) bool {
			return s.HTTP != nil && s.HTTP.FDName == f.Name()
		})
	})
}

// socketsNamed returns the sockets that systemd has passed with a name.
func socketsNamed(all []*os.File, name string) []*os.File {
	return slices.DeleteFunc(slices.Clone(all), func(f *os.File) bool { return f.Name() != name })
}

// onBehalf returns a connection to a service whose calls are authorized for the client in their
// context.
func (c *configuration) onBehalf(name string) grpc.ClientConnInterface {
	var packages []string
	for _, s := range c.options.All {
		packages = append(packages, s.Packages...)
	}
	roles, err := auth.RolesOf(auth.ServicesOf(packages...))
	if err != nil {
		c.options.Log.Error("methods without a role are rejected", "error", err)
	}
	return roles.OnBehalf(c.peers.Conn(name))
}

// healthRetry is the time between two attempts to watch a service that does not respond.
const healthRetry = 200 * time.Millisecond

// watchHealth reports the health of a service until ctx ends.
func (c *configuration) watchHealth(ctx context.Context, name string, report func(serving bool)) {
	client := grpc_health_v1.NewHealthClient(c.peers.Conn(name))
	for ctx.Err() == nil {
		stream, err := client.Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
		for err == nil {
			var health *grpc_health_v1.HealthCheckResponse
			if health, err = stream.Recv(); err == nil {
				report(health.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING)
			}
		}

		report(false)
		select {
		case <-ctx.Done():
		case <-time.After(healthRetry):
		}
	}
}
