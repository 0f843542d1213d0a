package iptables

import (
	"sync"
	"time"

	"github.com/google/nftables"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

const (
	modifiersKept   = 64 // transactions
	modifierTimeout = 150 * time.Millisecond
)

// modifierLog records which programs made the last nf_tables transactions. The kernel reports this
// only once, in an event.
type modifierLog struct {
	close func()

	mu   sync.Mutex
	by   map[uint32]firewall.Modifier // by transaction number
	news chan struct{}                // closed and replaced for each transaction; nil after the socket was closed
}

// listen starts to receive events on a separate socket.
func listen(ns hostns.NS) (*modifierLog, error) {
	conn, err := nftables.New(nftables.WithNetNSFd(ns.Fd()))
	if err != nil {
		return nil, err
	}

	monitor := nftables.NewMonitor()
	events, err := conn.AddGenerationalMonitor(monitor)
	if err != nil {
		return nil, err
	}

	a := &modifierLog{by: map[uint32]firewall.Modifier{}, news: make(chan struct{}),
		close: func() { _ = monitor.Close() }}
	go func() {
		for e := range events {
			if gen, ok := e.GeneratedBy.Data.(*nftables.Gen); ok && gen != nil {
				a.note(gen)
			}
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		close(a.news)
		a.news = nil
	}()

	return a, nil
}

func (a *modifierLog) note(gen *nftables.Gen) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.by, gen.ID-modifiersKept)
	a.by[gen.ID] = firewall.Modifier{Name: gen.ProcComm, PID: gen.ProcPID}
	close(a.news)
	a.news = make(chan struct{})
}

// of returns the program that made a transaction. It waits shortly, as the event can arrive late.
func (a *modifierLog) of(transaction uint32) firewall.Modifier {
	for late := time.After(modifierTimeout); ; {
		a.mu.Lock()
		who, known := a.by[transaction]
		news := a.news
		a.mu.Unlock()
		if known {
			return who
		}
		select {
		case <-news:
		case <-late:
			return firewall.Modifier{}
		}
	}
}
