package publish

import (
	"fmt"
	"net/netip"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// takeRange allocates a port range or a published address without port sockets. One socket a port
// would exceed the limit of open files and cost memory.
// A process that binds such a port later gets no error, but no connections either: DNAT comes
// first.
func (r *reservation) takeRange(w publication.PortRequest) error {
	for _, b := range w.Bindings(r.want, w.Host.First) {
		free := r.freeRange
		if b.IsAddress() {
			free = r.freeAddress
		}
		if err := free(w, b); err != nil {
			return err
		}
		r.p.allocator.AddRange(r.want.Owner, nameOf(r.want), b)
		r.bindings = append(r.bindings, b)
	}

	return nil
}

// freeRange checks that no container and no process uses a port of the range.
func (r *reservation) freeRange(w publication.PortRequest, b port.Binding) error {
	if h, number, taken := r.p.allocator.HolderOfRange(b.Protocol, b.HostIP, b.Host); taken {
		return allocated(b.Protocol, b.HostIP, number, h)
	}
	if err := r.checkHostAddress(w, b); err != nil {
		return err
	}
	if number, taken := r.p.ports.InUse(b.Protocol, b.HostIP, b.Host); taken {
		return r.p.inUse(b.Protocol, netip.AddrPortFrom(b.HostIP, number))
	}
	return nil
}

// freeAddress checks that an address is assigned to the host and not published by another owner.
func (r *reservation) freeAddress(w publication.PortRequest, b port.Binding) error {
	if h, taken := r.p.allocator.HolderOfAddress(b.HostIP); taken && h.Owner != r.want.Owner {
		return fault.New(fault.Busy, b.Subject(),
			fmt.Sprintf("is already published, at least partly (held by container %s)", h.Name),
			fault.WithReason(fault.ReasonPortAllocated), fault.WithField("publish_address"),
			fault.WithHint("stop that container, or publish another address"))
	}
	return r.checkHostAddress(w, b)
}

// checkHostAddress checks that an address is assigned to the host, by binding an ephemeral port of it.
func (r *reservation) checkHostAddress(w publication.PortRequest, b port.Binding) error {
	proto := b.Protocol
	if b.IsAddress() {
		proto = port.UDP
	}
	socket, err := r.p.ports.Bind(proto, netip.AddrPortFrom(b.HostIP, 0))
	if err != nil {
		return r.p.refused(w, w.Host.First, err)
	}
	return socket.Close()
}
