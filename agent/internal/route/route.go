// Package route connects the services of a host: it has a connection to each of them, in whatever
// process they run, and selects one for a method by its proto package. Connections are lazy.
//
// Package run uses it for the peers of services, and to forward calls on the public sockets.
package route

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/internal/peer"
	"github.com/fairlead/fairlead/agent/service"
)

// Table holds the connections to the services of a host.
type Table struct {
	faults   map[string]*grpc.ClientConn // by service; calls return faults, for services
	raw      map[string]*grpc.ClientConn // by service; calls return statuses, for the public sockets
	packages map[string]string           // the services of proto packages
}

// Dial returns connections to all given services at their configured addresses.
func Dial(cfg *config.Config, services []service.Spec) (*Table, error) {
	t := &Table{map[string]*grpc.ClientConn{}, map[string]*grpc.ClientConn{}, map[string]string{}}
	for _, s := range services {
		if err := t.dial(s, cfg.Service(s.Name)); err != nil {
			return nil, errors.Join(err, t.Close())
		}
	}
	return t, nil
}

// dial adds the connections to one service.
func (t *Table) dial(s service.Spec, host config.Host) error {
	conn, err := peer.Dial(s.Title, host)
	if err != nil {
		return err
	}
	t.faults[s.Name] = conn

	raw, err := peer.DialRaw(s.Title, host)
	if err != nil {
		return err
	}
	t.raw[s.Name] = raw

	for _, p := range s.Packages {
		t.packages[p] = s.Name
	}
	return nil
}

// Conn returns the connection to a service by name; its calls return faults. An unknown name is a
// programming error.
func (t *Table) Conn(name string) grpc.ClientConnInterface {
	conn, ok := t.faults[name]
	if !ok {
		panic(fmt.Sprintf("route: unknown service %q", name))
	}
	return conn
}

// Raw returns the connection to a service by name; its calls return statuses. It returns nil for an
// unknown name.
func (t *Table) Raw(name string) *grpc.ClientConn { return t.raw[name] }

// Route returns the connection for a method, such as
// "/fairlead.network.v1.NetworkService/ListNetworks"; its calls return statuses. It returns nil if no
// service implements the method's proto package.
func (t *Table) Route(method string) *grpc.ClientConn {
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	dot := strings.LastIndexByte(service, '.')
	if dot < 0 {
		return nil
	}
	return t.raw[t.packages[service[:dot]]]
}

// Close closes all connections.
func (t *Table) Close() error {
	var all error
	for _, conns := range []map[string]*grpc.ClientConn{t.faults, t.raw} {
		for _, c := range conns {
			all = errors.Join(all, c.Close())
		}
	}
	return all
}
