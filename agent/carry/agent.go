package carry

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/listen"
	"github.com/fairlead/fairlead/agent/proxy"
	"github.com/fairlead/fairlead/agent/server"
	"github.com/fairlead/fairlead/agent/service"
)

// member is a service that is carried, with the server on its own socket.
type member struct {
	Carried
	service service.Service
	socket  socket
}

// socket is a server and what it listens on.
type socket struct {
	name      string
	server    *server.Server
	listeners []net.Listener
}

// agent is all that one process carries.
type agent struct {
	log     *slog.Logger
	members []*member
	public  *socket // nil: none in this process
}

// newAgent makes all services, so that everything that is missing on the host is told at once.
func newAgent(ctx context.Context, o Options, p *peers) (*agent, error) {
	a := &agent{log: o.Log}
	var problems error
	for _, s := range o.Services {
		made, err := s.New(ctx, Host{o.Config, o.Log.With("service", s.Name), p.to})
		if err != nil {
			problems = errors.Join(problems, err)
			continue
		}
		a.members = append(a.members, &member{Carried: s, service: made})
	}
	if problems != nil {
		return nil, errors.Join(problems, a.close())
	}
	return a, nil
}

// listen opens all sockets. Nobody is answered yet.
func (a *agent) listen(ctx context.Context, o Options, p *peers) error {
	for _, m := range a.members {
		listeners, err := listen.Open(ctx, []config.Host{o.Config.Service(m.Name)}, listen.Private())
		if err != nil {
			return errors.Join(err, a.closeListeners())
		}
		m.socket = socket{m.Name, server.New(server.Config{Name: m.Name, Log: o.Log, Audience: server.Peers}, m.service.Register), listeners}
	}
	if !o.Public {
		return nil
	}
	if err := a.listenPublic(ctx, o, p); err != nil {
		return errors.Join(err, a.closeListeners())
	}
	return nil
}

func (a *agent) listenPublic(ctx context.Context, o Options, p *peers) error {
	tls, err := listen.TLS(o.Config)
	if err != nil {
		return err
	}
	owners, err := listen.Public(o.Config.Group)
	if err != nil {
		return err
	}
	listeners, err := listen.Open(ctx, o.Config.Hosts, owners)
	if err != nil {
		return err
	}
	a.warnOfOpen(o.Config)
	a.public = &socket{"public", server.New(server.Config{
		Name: "public", Log: o.Log, Audience: server.Admins, TLS: tls, Forward: proxy.Handler(p.route), Forwarded: a.forwarded(),
	}, a.registerPublic), listeners}
	return nil
}

// warnOfOpen says again, in the log, what a TCP socket without TLS means.
func (a *agent) warnOfOpen(cfg *config.Config) {
	for _, h := range cfg.Hosts {
		if h.Network == "tcp" && !cfg.TLSVerify {
			a.log.Warn("whoever reaches this address is root on this machine", "host", h.String())
		}
	}
}

func (a *agent) registerPublic(r grpc.ServiceRegistrar) {
	for _, m := range a.members {
		if m.Public {
			m.service.Register(r)
		}
	}
}

// forwarded lists the gRPC services whose calls are passed on.
func (a *agent) forwarded() []string {
	var all []string
	for _, h := range homes() {
		if !slices.ContainsFunc(a.members, func(m *member) bool { return m.Public && m.Name == h.name }) {
			all = append(all, server.ForAdmins(h.proto)...)
		}
	}
	return all
}

// closeListeners closes listeners that no server has taken over.
func (a *agent) closeListeners() error {
	var all error
	for _, m := range a.members {
		for _, l := range m.socket.listeners {
			all = errors.Join(all, l.Close())
		}
	}
	return all
}

// close lets go of what the services hold.
func (a *agent) close() error {
	var all error
	for _, m := range a.members {
		all = errors.Join(all, m.service.Close())
	}
	return all
}
