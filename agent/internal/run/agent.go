package run

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/internal/auth"
	"github.com/fairlead/fairlead/agent/internal/listen"
	"github.com/fairlead/fairlead/agent/internal/proxy"
	"github.com/fairlead/fairlead/agent/internal/route"
	"github.com/fairlead/fairlead/agent/internal/server"
	"github.com/fairlead/fairlead/agent/internal/traces"
	"github.com/fairlead/fairlead/agent/service"
	agentv1 "github.com/fairlead/fairlead/proto/gen/fairlead/agent/v1"
	"github.com/fairlead/fairlead/proto/noderpc"
)

// member is a service with the server on its own socket.
type member struct {
	service.Spec
	service service.Service
	socket  socket
	grpc    *server.Server // of socket
	http    *socket        // nil: the service does not serve HTTP
}

// agent holds everything that one process runs.
type agent struct {
	log        *slog.Logger
	members    []*member
	public     *socket        // nil: this process has no public socket
	publicGRPC *server.Server // of public
	metrics    *socket        // nil: no metrics-address, or another process serves it
	tls        atomic.Pointer[tls.Config]
	config     *configuration
	tracer     *traces.Tracer                // nil: no traces-endpoint
	entry      func() (*server.Entry, error) // for calls of other hosts
}

// newAgent creates all services. It reports all missing requirements of the host in one error.
func newAgent(ctx context.Context, o Options, p *route.Table) (*agent, error) {
	a := &agent{log: o.Log}
	a.config = newConfiguration(o, p, a)
	a.entry = sync.OnceValues(a.newEntry)
	var problems error
	if a.tracer, problems = traces.New(o.Config.TracesEndpoint, o.Name, o.Log); problems != nil {
		return nil, problems
	}
	for _, s := range o.Services {
		made, err := s.New(ctx, a.config.host(s, o.Config))
		if err != nil {
			problems = errors.Join(problems, err)
			continue
		}
		a.members = append(a.members, &member{Spec: s, service: made})
	}
	if problems != nil {
		return nil, errors.Join(problems, a.close())
	}
	return a, nil
}

// listen opens all sockets. They are not served yet.
func (a *agent) listen(ctx context.Context, o Options, p *route.Table) error {
	secured, err := listen.TLS(o.Config)
	if err != nil {
		return err
	}
	a.tls.Store(secured)
	for _, m := range a.members {
		listeners, err := open(ctx, o.Log, []config.Host{o.Config.Service(m.Name)}, listen.ServiceAccess(), nil)
		if err != nil {
			return errors.Join(err, a.closeListeners())
		}
		cfg := server.Config{Name: m.Name, Log: o.Log, Audience: auth.Peers, Tracer: a.tracer}
		if m.Nodes {
			cfg.Node, cfg.Forward, cfg.Forwarded = a.node(), a.forwardHere, a.services()
		}
		served, err := server.New(cfg,
			func(r grpc.ServiceRegistrar) {
				m.service.Register(r)
				agentv1.RegisterConfigServiceServer(r, configServer{configuration: a.config})
				agentv1.RegisterMetricsServiceServer(r, metricsServer{agent: a, member: m})
			})
		m.socket, m.grpc = socket{m.Name, served, listeners}, served
		if err == nil {
			err = a.listenHTTP(ctx, o, m)
		}
		if err != nil {
			return errors.Join(err, a.closeListeners())
		}
	}
	if !o.Public {
		return nil
	}
	err = a.listenPublic(ctx, o, p)
	if err == nil {
		err = a.listenMetrics(ctx, o)
	}
	if err != nil {
		return errors.Join(err, a.closeListeners())
	}
	return nil
}

func (a *agent) listenPublic(ctx context.Context, o Options, p *route.Table) error {
	owners, err := listen.PublicAccess(o.Config.Group)
	if err != nil {
		return err
	}
	listeners, err := open(ctx, o.Log, o.Config.Hosts, owners, a.publicSockets(o))
	if err != nil {
		return err
	}
	a.warnInsecureTCP(o.Config)
	served, err := server.New(server.Config{
		Name: "public", Log: o.Log, Audience: auth.Admins, Tracer: a.tracer,
		Clients: a.credentials(cmp.Or(o.Config.Group, listen.DefaultGroup)),
		Forward: proxy.Handler(p.Route, noderpc.Strip), Forwarded: a.forwarded(), Node: a.node(),
	}, a.registerPublic)
	if err != nil {
		return errors.Join(err, closeAll(listeners))
	}
	a.public, a.publicGRPC = &socket{"public", served, listeners}, served
	return nil
}

// credentials identify the clients of the public sockets. Members of the group are administrators.
func (a *agent) credentials(group string) auth.Credentials {
	return auth.Credentials{Log: a.log, TLS: a.tls.Load,
		OpenTCP: func() bool { return a.config.now.Load().InsecureTCP },
		Member:  auth.Members(group)}
}

// warnInsecureTCP logs a warning for each TCP socket without TLS.
func (a *agent) warnInsecureTCP(cfg *config.Config) {
	for _, h := range cfg.Hosts {
		if h.Network == "tcp" && !cfg.TLSVerify && cfg.InsecureTCP {
			a.log.Warn("unauthenticated TCP socket grants root access", "host", h.String())
		}
	}
}

func (a *agent) registerPublic(r grpc.ServiceRegistrar) {
	for _, m := range a.members {
		if m.Public {
			m.service.Register(r)
		}
	}
	agentv1.RegisterConfigServiceServer(r, configServer{configuration: a.config, hostWide: true})
}

// forwarded returns the gRPC services whose calls are forwarded to other processes.
func (a *agent) forwarded() []string {
	var all []string
	for _, s := range a.config.options.All {
		if !slices.ContainsFunc(a.members, func(m *member) bool { return m.Public && m.Name == s.Name }) {
			all = append(all, auth.ServicesOf(s.Packages...)...)
		}
	}
	return all
}

// closeListeners closes listeners that no server uses yet.
func (a *agent) closeListeners() error {
	var all error
	for _, s := range []*socket{a.public, a.metrics} {
		if s != nil {
			all = errors.Join(all, closeAll(s.listeners))
		}
	}
	for _, m := range a.members {
		all = errors.Join(all, closeAll(m.socket.listeners))
		if m.http != nil {
			all = errors.Join(all, closeAll(m.http.listeners))
		}
	}
	return all
}

// close closes the services.
func (a *agent) close() error {
	var all error
	for _, m := range a.members {
		all = errors.Join(all, m.service.Close())
	}
	a.config.close()
	return errors.Join(all, a.tracer.Close())
}
