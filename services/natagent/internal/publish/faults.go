package publish

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/hostport"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// allocated says that another container has the port, in Docker's words.
func allocated(proto publication.Protocol, ip netip.Addr, port uint16, by hostport.Holder) error {
	return fault.New(fault.Busy, publication.Subject(ip, port, proto),
		fmt.Sprintf("Bind for %s failed: port is already allocated (held by container %s)", netip.AddrPortFrom(ip, port), by.Name),
		fault.WithReason(fault.ReasonPortAllocated), fault.WithField("publish"),
		fault.WithHint("stop that container, or publish on another port"))
}

// refused says why the kernel does not give a port, in Docker's words.
func (p *Publisher) refused(w publication.PortRequest, port uint16, err error) error {
	at := netip.AddrPortFrom(w.HostIPs[0], port)
	if e, ok := errors.AsType[errAt](err); ok {
		at = e.at
	}
	if w.Whole() && errors.Is(err, syscall.EADDRNOTAVAIL) {
		return fault.New(fault.Invalid, "address "+at.Addr().String(), "the host does not have it", fault.WithField("publish_address"),
			fault.WithHint("give one of this host's addresses, or add it to an interface first"))
	}
	subject := publication.Subject(at.Addr(), port, w.Protocol)
	failed := fmt.Sprintf("failed to bind host port %s/%s: ", at, w.Protocol)
	publish := fault.WithField("publish")
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return p.inUse(w.Protocol, at)
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

// inUse says that a program of the host has a port, in Docker's words.
func (p *Publisher) inUse(proto publication.Protocol, at netip.AddrPort) error {
	by := ""
	if who, ok := p.ports.Process(proto, at); ok {
		by = " (held by " + who + ")"
	}
	return fault.New(fault.Busy, publication.Subject(at.Addr(), at.Port(), proto),
		fmt.Sprintf("failed to bind host port %s/%s: address already in use%s", at, proto, by), fault.WithField("publish"),
		fault.WithReason(fault.ReasonAddressInUse), fault.WithHint("stop what uses it, or publish on another port"))
}
