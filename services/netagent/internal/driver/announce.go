package driver

import (
	"sync"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/frame"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Announcer tells the neighbours of endpoints where their addresses are now, so that nobody goes on with what he knew of them: a
// gratuitous ARP, or an unsolicited neighbour advertisement, as often as the network says. It is safe for concurrent use.
type Announcer struct {
	mu      sync.Mutex
	running map[string]*announcement // by endpoint
}

// announcement is one that goes on. Its socket keeps the endpoint's namespace.
type announcement struct {
	packets *kernel.PacketSocket
	stop    chan struct{}
}

// NewAnnouncer makes one that announces nothing yet.
func NewAnnouncer() *Announcer { return &Announcer{running: map[string]*announcement{}} }

// Announce tells of an endpoint's addresses for the first time before it returns, and then on and on until that is enough or Silence is
// called. Its interface must be up. Nothing depends on it, so a failure is none of the endpoint's.
func (a *Announcer) Announce(ns *kernel.Namespace, n network.Network, e network.Endpoint) {
	times, every := n.Announcements()
	_, mac, there, err := ns.Child(e.Interface)
	if times == 0 || n.IsL3() || len(e.Addresses()) == 0 || err != nil || !there {
		return // where the kernel routes there are no neighbours
	}
	packets, err := ns.Packets(e.Interface, kernel.FilterNone())
	if err != nil {
		return
	}
	var frames [][]byte
	for _, p := range e.AllAddresses() { // of those that it is about to give up, too, as they are elsewhere if its hardware address is another one
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
			return // whoever stopped it has closed the socket
		case <-tick.C:
		}
		if !send(one.packets, frames) {
			break
		}
	}
	a.Stop(endpoint)
}

// Stop ends what is told of an endpoint, at once. No error if nothing is.
func (a *Announcer) Stop(endpoint string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if one, ok := a.running[endpoint]; ok {
		delete(a.running, endpoint)
		close(one.stop)
		_ = one.packets.Close()
	}
}

// Close ends all that is told.
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
