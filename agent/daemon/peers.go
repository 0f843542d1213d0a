package daemon

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/peer"
)

// serviceInfo says which service has which proto package, and what people call it.
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

// peers are the connections to the services of this host, wherever they run.
type peers struct {
	speaking map[string]*grpc.ClientConn // answer faults; for services
	raw      map[string]*grpc.ClientConn // pass statuses on; for the public sockets
}

func dialPeers(cfg *config.Config) (*peers, error) {
	p := &peers{map[string]*grpc.ClientConn{}, map[string]*grpc.ClientConn{}}
	for _, h := range serviceInfos() {
		if p.raw[h.name] != nil {
			continue
		}
		speaking, err := peer.Dial(h.title, cfg.Service(h.name))
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		p.speaking[h.name] = speaking
		raw, err := peer.DialRaw(h.title, cfg.Service(h.name))
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		p.raw[h.name] = raw
	}
	return p, nil
}

// conn is what Host.Peer gives. A name that no service has is a mistake in the command's table.
func (p *peers) conn(name string) grpc.ClientConnInterface {
	conn, ok := p.speaking[name]
	if !ok {
		panic(fmt.Sprintf("carry: there is no service %q", name))
	}
	return conn
}

// route finds the connection for a method, "/fairlead.network.v1.NetworkService/ListNetworks".
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
	for _, conns := range []map[string]*grpc.ClientConn{p.speaking, p.raw} {
		for _, c := range conns {
			all = errors.Join(all, c.Close())
		}
	}
	return all
}
