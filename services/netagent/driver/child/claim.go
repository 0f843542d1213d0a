package child

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/services/netagent/frame"
	"github.com/fairlead/fairlead/services/netagent/kernel"
	"github.com/fairlead/fairlead/services/netagent/network"
)

// How long the LAN is asked who has an address. RFC 5227 takes seconds, for hosts that were just plugged into switches which do not pass
// frames on yet; the parent has long been plugged in.
const (
	claimProbes = 2
	claimPause  = 70 * time.Millisecond
	claimLimit  = 200 * time.Millisecond
	maxFrame    = 2048
)

// Claimed asks the network's LAN whether somebody else has an address, and answers in words who it is; nothing if nobody has it.
// Nobody is asked where there is no LAN, or where the network's maker does not want it.
//
// The host asks, from the shim if there is one: its frames reach the parent's other children too.
func (d *Driver) Claimed(n network.Network, addr netip.Addr) (who string, err error) {
	if n.NoProbe || !n.OnLAN() {
		return "", nil
	}
	parent, ok, err := d.parent(n)
	if err != nil || !ok || !parent.Up || !parent.Carrier {
		return "", nil //nolint:nilerr // nobody could answer; Attach says what is wrong
	}
	has, err := d.host.Addresses(parent.Index)
	if err == nil {
		for _, p := range has {
			if p.Addr() == addr {
				return "this host itself, by " + parent.Name, nil
			}
		}
		mac, asked := d.ask(n, parent, addr)
		switch {
		case asked == nil && mac != nil:
			return mac.String() + " on the LAN of " + parent.Name, nil
		case asked == nil:
			return "", nil
		}
		err = asked
	}
	return "", fault.Wrap(err, fault.Internal, n.Subject(), fmt.Sprintf("cannot ask the LAN of %s who has %s", n.Parent, addr))
}

// ask sends probes and hears who answers.
func (d *Driver) ask(n network.Network, parent kernel.Link, addr netip.Addr) (net.HardwareAddr, error) {
	own := []net.HardwareAddr{parent.MAC}
	from, links := parent, []int{parent.Index}
	shim, ok, err := d.host.Link(shimName(n))
	if err != nil {
		return nil, err
	}
	if ok && shim.Up {
		from, links, own = shim, append(links, shim.Index), append(own, shim.MAC)
	}
	hear := kernel.HearARP()
	if addr.Is6() {
		hear = kernel.HearDiscovery()
	}
	end := time.Now().Add(claimLimit)
	var sockets []*kernel.Packets
	for _, link := range links {
		s, err := d.host.Packets(link, hear)
		if err != nil {
			return nil, errors.Join(err, closeAll(sockets))
		}
		sockets = append(sockets, s)
		_ = s.Until(end) // a socket has deadlines
	}
	found := make(chan net.HardwareAddr, len(sockets))
	var all sync.WaitGroup
	for _, s := range sockets {
		all.Go(func() { hearClaim(s, addr, own, found) })
	}
	who, err := probe(sockets[len(sockets)-1], frame.Probe(from.MAC, addr), end, found)
	err = errors.Join(err, closeAll(sockets))
	all.Wait()
	return who, err
}

// probe sends a probe some times, and waits until somebody answers or it is over.
func probe(on *kernel.Packets, question []byte, end time.Time, found <-chan net.HardwareAddr) (net.HardwareAddr, error) {
	for sent := 0; ; {
		wait := time.Until(end)
		if sent < claimProbes {
			if err := on.Write(question); err != nil {
				return nil, err
			}
			if sent++; sent < claimProbes {
				wait = min(wait, claimPause)
			}
		}
		select {
		case who := <-found:
			return who, nil
		case <-time.After(wait):
			if !time.Now().Before(end) {
				return nil, nil
			}
		}
	}
}

// hearClaim reads until somebody claims the address or the socket's time is over.
func hearClaim(s *kernel.Packets, addr netip.Addr, own []net.HardwareAddr, found chan<- net.HardwareAddr) {
	buf := make([]byte, maxFrame)
	for {
		size, _, err := s.Read(buf)
		if err != nil {
			return // over: os.ErrDeadlineExceeded or closed
		}
		if who, ok := frame.Claimant(buf[:size], addr, own...); ok {
			found <- who
			return
		}
	}
}

func closeAll(sockets []*kernel.Packets) error {
	var errs []error
	for _, s := range sockets {
		if err := s.Close(); !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
