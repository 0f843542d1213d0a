package driver

import (
	"sync"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/frame"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Announcer sends gratuitous ARP and unsolicited NA for endpoints. Hosts on the LAN then update
// their neighbour entries. Number and interval are options of the network. It is safe for
// concurrent use.
type Announcer struct {
	mu      sync.Mutex
	running map[string]*announcement // by endpoint
}

// announcement is a running repetition. Its socket keeps the endpoint's namespace alive.
type announcement struct {
	packets *kernel.PacketSocket
	stop    chan struct{}
}

// NewAnnouncer returns an Announcer without announcements.
func NewAnnouncer() *Announcer { return &Announcer{running: map[string]*announcement{}} }

// Announce sends the first announcement of an endpoint's addresses before it returns. It repeats it
// in the background until the configured number is reached or Stop is called. The interface must be
// up. Failures are ignored, as no endpoint depends on announcements.
func (a *Announcer) Announce(ns *kernel.Namespace, n network.Network, e endpoint.Endpoint) {
	times, every := n.Announcements()
	_, mac, there, err := ns.Child(e.Interface)
	if times == 0 || n.IsL3() || len(e.Addresses()) == 0 || err != nil || !there {
		return // no neighbour entries exist for interfaces in a layer 3 mode
	}

	packets, err := ns.Packets(e.Interface, kernel.FilterNone())
	if err != nil {
		return
	}

	var frames [][]byte
	for _, p := range e.AllAddresses() { // former addresses too, as the MAC may have changed
		frames = append(frames, frame.Announce(mac, p.Addr()))
	}

	if send(packets, frames) && times > 1 {
		go a.repeat(e.ID, a.enter(e.ID, packets), frames, times-1, every)
		return
	}

	_ = packets.Close()
}

func send(packets *kernel.PacketSocket, frames [][]byte) bool {
	for _, f := range frames {
		if packets.Write(f) != nil {
			return false
		}
	}
	return true
}

func (a *Announcer) enter(endpoint string, packets *kernel.PacketSocket) *announcement {
	one := &announcement{packets, make(chan struct{})}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running[endpoint] = one
	return one
}

func (a *Announcer) repeat(endpoint string, one *announcement, frames [][]byte, times int, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for ; times > 0; times-- {
		select {
		case <-one.stop:
			return // Stop has closed the socket
		case <-tick.C:
		}
		if !send(one.packets, frames) {
			break
		}
	}

	a.Stop(endpoint)
}

// Stop stops the announcements of an endpoint immediately. It does nothing if none are running.
func (a *Announcer) Stop(endpoint string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if one, ok := a.running[endpoint]; ok {
		delete(a.running, endpoint)
		close(one.stop)
		_ = one.packets.Close()
	}
}

// Close stops all announcements.
func (a *Announcer) Close() {
	a.mu.Lock()
	all := make([]string, 0, len(a.running))
	for endpoint := range a.running {
		all = append(all, endpoint)
	}
	a.mu.Unlock()
	for _, endpoint := range all {
		a.Stop(endpoint)
	}
}
