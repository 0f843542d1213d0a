package publish

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/services/natagent/hostport"
	"github.com/fairlead/fairlead/services/natagent/publication"
)

// allocated says that another container has the port, in Docker's words.
func allocated(w publication.Want, ip netip.Addr, by hostport.Holding) error {
	return fault.New(fault.Busy, publication.Subject(ip, w.First, w.Protocol),
		fmt.Sprintf("Bind for %s failed: port is already allocated (held by container %s)", netip.AddrPortFrom(ip, w.First), by.Name),
		fault.WithReason(fault.ReasonPortAllocated), fault.WithField("publish"),
		fault.WithHint("stop that container, or publish on another port"))
}

// refused says why the kernel does not give a port, in Docker's words.
func (p *Publisher) refused(w publication.Want, port uint16, err error) error {
	at := netip.AddrPortFrom(w.HostIPs[0], port)
	if e, ok := errors.AsType[errAt](err); ok {
		at = e.at
	}
	subject := publication.Subject(at.Addr(), port, w.Protocol)
	failed := fmt.Sprintf("failed to bind host port %s/%s: ", at, w.Protocol)
	publish := fault.WithField("publish")
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		by := ""
		if who, ok := p.ports.Process(w.Protocol, at); ok {
			by = " (held by " + who + ")"
		}
		return fault.New(fault.Busy, subject, failed+"address already in use"+by, publish,
			fault.WithReason(fault.ReasonAddressInUse), fault.WithHint("stop what uses it, or publish on another port"))
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
		return fault.New(fault.Invalid, subject, failed+"cannot assign requested address", publish,
			fault.WithHint("give one of this host's addresses, or none for all of them"))
	case errors.Is(err, hostport.ErrNoTransport):
		return fault.New(fault.Invalid, subject, fmt.Sprintf("the kernel has no %s", w.Protocol), publish,
			fault.WithHint("load or build it (CONFIG_IP_SCTP, module sctp)"))
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return fault.New(fault.Exhausted, subject, failed+"too many open files", publish,
			fault.WithHint("raise the limit of open files (LimitNOFILE) of natagent: each host port takes one"))
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return fault.New(fault.Denied, subject, failed+"permission denied", publish,
			fault.WithHint("natagent needs CAP_NET_BIND_SERVICE for ports below 1024"))
	}
	return fault.New(fault.Internal, subject, failed+err.Error(), publish)
}
