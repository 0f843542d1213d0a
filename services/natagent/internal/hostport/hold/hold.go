// Package hold reserves host ports for publications: it binds port sockets, takes ports from the
// relay, and finds the processes that use a port.
//
// Package publish uses it through its interface Ports.
package hold

import (
	"errors"
	"io"
	"net/netip"
	"syscall"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/hostport/portsocket"
	"github.com/fairlead/fairlead/services/natagent/internal/portowner"
)

// Relays can have a port that is to be published.
type Relays interface {
	// Yield closes the relay of a port, and reports whether there was one.
	Yield(number uint16) bool
}

// Ports are the ports of a host. It implements publish.Ports.
type Ports struct {
	*portsocket.Binder
	ns     hostns.NS
	relays Relays
}

// New returns the ports of a host.
func New(ns hostns.NS, relays Relays) *Ports { return &Ports{portsocket.New(ns), ns, relays} }

// Bind binds a port, and closes a relay that has it.
func (p *Ports) Bind(proto port.Protocol, at netip.AddrPort) (io.Closer, error) {
	socket, err := p.Binder.Bind(proto, at)
	if errors.Is(err, syscall.EADDRINUSE) && proto == port.TCP && at.Addr().Is6() && p.relays.Yield(at.Port()) {
		socket, err = p.Binder.Bind(proto, at)
	}
	if err != nil {
		return nil, err // a nil *portsocket.Port in an interface would not be nil
	}
	return socket, nil
}

// InUse returns a port of the range that another process listens on.
func (p *Ports) InUse(proto port.Protocol, ip netip.Addr, r port.Range) (uint16, bool) {
	return portowner.InRange(p.ns, proto, ip, r.First, r.Last)
}

// Process returns the process that uses a port.
func (p *Ports) Process(proto port.Protocol, at netip.AddrPort) (string, bool) {
	who, ok := portowner.Find(p.ns, proto, at)
	return who.String(), ok
}
