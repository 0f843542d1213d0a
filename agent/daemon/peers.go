package daemon

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/peer"
)

// serviceInfo maps a service to its proto package and the name used in messages.
type serviceInfo struct{ name, title, proto string }

func serviceInfos() []serviceInfo {
	return []serviceInfo{
		{"net", "netagent", "fairlead.network.v1."},
		{"nat", "natagent", "fairlead.nat.v1."},
		{"dns", "dnsagent", "fairlead.dns.v1."},
		{"supervisor", "supervisor", "fairlead.container.v1."},
		{"supervisor", "supervisor", "fairlead.host.v1."},
	}
}

// peers holds the connections to the services of this host, wherever they run.
type peers struct {
	faults map[string]*grpc.ClientConn // calls return faults; for services
	raw    map[string]*grpc.ClientConn // calls return statuses; for the public sockets
}

func dialPeers(cfg *config.Config) (*peers, error) {
	p := &peers{map[string]*grpc.ClientConn{}, map[string]*grpc.ClientConn{}}
	for _, h := range serviceInfos() {
		if p.raw[h.name] != nil {
			continue
		}
		conn, err := peer.Dial(h.title, cfg.Service(h.name))
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		p.faults[h.name] = conn
		raw, err := peer.DialRaw(h.title, cfg.Service(h.name))
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		p.raw[h.name] = raw
	}
	return p, nil
}

// conn returns the connection for Deps.Peer. An unknown name is a programming error.
func (p *peers) conn(name string) grpc.ClientConnInterface {
	conn, ok := p.faults[name]
	if !ok {
		panic(fmt.Sprintf("daemon: unknown service %q", name))
	}
	return conn
}

// route returns the connection for a method, such as
// "/fairlead.network.v1.NetworkService/ListNetworks".
func (p *peers) route(method string) *grpc.ClientConn {
	for _, h := range serviceInfos() {
		if strings.HasPrefix(method, "/"+h.proto) {
			return p.raw[h.name]
		}
	}
	return nil
}

func (p *peers) close() error {
	var all error
	for _, conns := range []map[string]*grpc.ClientConn{p.faults, p.raw} {
		for _, c := range conns {
			all = errors.Join(all, c.Close())
		}
	}
	return all
}
