package publish

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/hostport"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// allocated returns the fault for a port of another container, in Docker's words.
func allocated(proto port.Protocol, ip netip.Addr, number uint16, by hostport.Holder) error {
	return fault.New(fault.Busy, port.Subject(ip, number, proto),
		fmt.Sprintf("Bind for %s failed: port is already allocated (held by container %s)",
			netip.AddrPortFrom(ip, number), by.Name),
		fault.WithReason(fault.ReasonPortAllocated), fault.WithField("publish"),
		fault.WithHint("stop that container, or publish on another port"))
}

// refused returns the fault for a port that cannot be bound, in Docker's words.
func (p *Publisher) refused(w publication.PortRequest, number uint16, err error) error {
	at := netip.AddrPortFrom(w.HostIPs[0], number)
	if e, ok := errors.AsType[errAt](err); ok {
		at = e.at
	}

	if w.Whole() && errors.Is(err, syscall.EADDRNOTAVAIL) {
		return fault.New(fault.Invalid, "address "+at.Addr().String(), "is not assigned to this host",
			fault.WithField("publish_address"),
			fault.WithHint("use an address of this host, or add this one to an interface"))
	}

	subject := port.Subject(at.Addr(), number, w.Protocol)
	failed := fmt.Sprintf("failed to bind host port %s/%s: ", at, w.Protocol)
	publish := fault.WithField("publish")
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return p.inUse(w.Protocol, at)
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
		return fault.New(fault.Invalid, subject, failed+"cannot assign requested address", publish,
			fault.WithHint("use an address of this host, or omit it to publish on all"))
	case errors.Is(err, hostport.ErrNoTransport):
		return fault.New(fault.Invalid, subject, fmt.Sprintf("kernel does not support %s", w.Protocol), publish,
			fault.WithHint("load the module sctp (CONFIG_IP_SCTP)"))
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return fault.New(fault.Exhausted, subject, failed+"too many open files", publish,
			fault.WithHint("raise LimitNOFILE of natagent; each host port uses one file"))
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return fault.New(fault.Denied, subject, failed+"permission denied", publish,
			fault.WithHint("grant natagent CAP_NET_BIND_SERVICE, required for ports below 1024"))
	}

	return fault.New(fault.Internal, subject, failed+err.Error(), publish)
}

// inUse returns the fault for a port of another process, in Docker's words.
func (p *Publisher) inUse(proto port.Protocol, at netip.AddrPort) error {
	by := ""
	if who, ok := p.ports.Process(proto, at); ok {
		by = " (held by " + who + ")"
	}
	return fault.New(fault.Busy, port.Subject(at.Addr(), at.Port(), proto),
		fmt.Sprintf("failed to bind host port %s/%s: address already in use%s", at, proto, by),
		fault.WithField("publish"),
		fault.WithReason(fault.ReasonAddressInUse), fault.WithHint("stop that process, or publish another port"))
}
