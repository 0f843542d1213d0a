package publish

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"syscall"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/hostport"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// held is a host port with its socket.
type held struct {
	key  holdKey
	port io.Closer
}

type holdKey struct {
	proto port.Protocol
	at    netip.AddrPort
}

// reservation holds the host ports that are allocated to one publication.
type reservation struct {
	p        *Publisher
	want     *publication.Publication
	dynamic  *hostport.EphemeralPorts // read on first use
	held     []held
	bindings []port.Binding
	own      map[holdKey]io.Closer // port sockets that the owner already has
}

// reserve allocates a host port for each request, or none. Sockets in own are reused.
func (p *Publisher) reserve(want *publication.Publication, plan []publication.PortRequest,
	own map[holdKey]io.Closer) (*reservation, error) {
	r := &reservation{p: p, want: want, own: own}
	for _, w := range plan {
		if w.Direct {
			r.bindings = append(r.bindings, w.Bindings(want, w.Host.First)...)
			continue
		}
		if w.Range || w.Whole() {
			if err := r.takeRange(w); err != nil {
				return nil, errors.Join(err, r.undo())
			}
			continue
		}
		port, err := r.take(w)
		if err != nil {
			return nil, errors.Join(err, r.undo())
		}
		r.bindings = append(r.bindings, w.Bindings(want, port)...)
	}

	return r, nil
}

// undo releases all ports of the reservation.
func (r *reservation) undo() error {
	var errs []error
	for _, h := range r.held {
		r.p.allocator.Remove(r.want.Owner, h.key.proto, h.key.at.Addr(), h.key.at.Port())
		if r.own[h.key] == nil {
			errs = append(errs, h.port.Close())
		}
	}
	r.held = nil
	r.p.allocator.RemoveRanges(r.want.Owner)
	return errors.Join(errs...)
}

// take allocates one host port on all addresses of a request.
func (r *reservation) take(w publication.PortRequest) (uint16, error) {
	if w.Fixed() {
		return w.Host.First, r.takeFixed(w)
	}

	for port := range r.candidates(w) {
		err := r.bind(w, port)
		if err == nil {
			return port, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return 0, r.p.refused(w, port, err)
		}
	}

	ip := w.HostIPs[0]
	subject := fmt.Sprintf("%s of %s", w.Protocol, ip)
	if !w.Host.IsZero() {
		subject = fmt.Sprintf("ports %d-%d/%s of %s", w.Host.First, w.Host.Last, w.Protocol, ip)
	}

	return 0, fault.New(fault.Exhausted, subject, "all ports are allocated", fault.WithField("publish"),
		fault.WithHint("stop a container, or publish other ports"))
}

func (r *reservation) takeFixed(w publication.PortRequest) error {
	for _, ip := range w.HostIPs {
		if h, taken := r.p.allocator.HolderOf(w.Protocol, ip, w.Host.First); taken {
			return allocated(w.Protocol, ip, w.Host.First, h)
		}
	}
	if err := r.bind(w, w.Host.First); err != nil {
		return r.p.refused(w, w.Host.First, err)
	}
	return nil
}

// candidates returns the ports to try for a request that is not fixed.
func (r *reservation) candidates(w publication.PortRequest) iter.Seq[uint16] {
	if !w.Host.IsZero() {
		return r.p.allocator.Free(w.Protocol, w.HostIPs, w.Host)
	}

	if r.dynamic == nil {
		d, err := r.p.ports.Dynamic()
		if err != nil {
			r.p.log.Warn("cannot read ephemeral port range, using default", "first", d.Range.First, "last",
				d.Range.Last, "error", err)
		}
		r.dynamic = &d
	}

	return func(yield func(uint16) bool) {
		for port := range r.p.allocator.Next(w.Protocol, w.HostIPs, r.dynamic.Range) {
			if r.dynamic.Reserved(port) {
				continue
			}
			before := len(r.held)
			if !yield(port) {
				if len(r.held) > before {
					r.p.allocator.MarkUsed(w.Protocol, w.HostIPs, port)
				}
				return
			}
		}
	}
}

// errAt is the error of binding one address of a request.
type errAt struct {
	at  netip.AddrPort
	err error
}

func (e errAt) Error() string { return e.at.String() + ": " + e.err.Error() }
func (e errAt) Unwrap() error { return e.err }

// bind binds a port on all addresses of a request, or on none.
func (r *reservation) bind(w publication.PortRequest, port uint16) error {
	var got []held
	for _, ip := range w.HostIPs {
		at := netip.AddrPortFrom(ip, port)
		c, err := r.hold(holdKey{w.Protocol, at})
		if err != nil {
			for _, h := range got {
				if r.own[h.key] == nil {
					err = errors.Join(err, h.port.Close())
				}
			}
			return errAt{at, err}
		}
		got = append(got, held{holdKey{w.Protocol, at}, c})
	}

	for _, h := range got {
		r.p.allocator.Add(r.want.Owner, nameOf(r.want), w.Protocol, h.key.at.Addr(), port)
	}

	r.held = append(r.held, got...)
	return nil
}

// hold binds a port that the owner does not have yet.
// If the owner has it on an overlapping address, binding is deferred: no other process can bind it.
func (r *reservation) hold(key holdKey) (io.Closer, error) {
	if c := r.own[key]; c != nil {
		return c, nil
	}

	c, err := r.p.ports.Bind(key.proto, key.at)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return c, err
	}
	if of, published := r.p.unheld[key]; published && of.owner == r.want.Owner {
		return deferredPort{}, nil // another process took it while natagent was stopped; it stays published
	}

	for had := range r.own {
		if had.proto == key.proto && had.at.Port() == key.at.Port() &&
			port.Overlap(had.at.Addr(), key.at.Addr()) {
			return deferredPort{}, nil
		}
	}

	return nil, err
}

// deferredPort is a port that can be bound only after the owner's current socket is closed.
type deferredPort struct{}

func (deferredPort) Close() error { return nil }
