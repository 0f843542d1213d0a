package iptables

import (
	"sync"
	"time"

	"github.com/google/nftables"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

const (
	authorsKept = 64 // transactions
	authorLate  = 150 * time.Millisecond
)

// modifierLog remembers who made the last transactions of nf_tables. The kernel tells with each, and never again.
type modifierLog struct {
	close func()

	mu   sync.Mutex
	by   map[uint32]firewall.Modifier // by the transaction's number
	news chan struct{}                // closed and made anew with each; nil when no more is heard
}

// listen begins to hear the kernel on a socket of its own.
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
	a := &modifierLog{by: map[uint32]firewall.Modifier{}, news: make(chan struct{}), close: func() { _ = monitor.Close() }}
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
	delete(a.by, gen.ID-authorsKept)
	a.by[gen.ID] = firewall.Modifier{Name: gen.ProcComm, PID: gen.ProcPID}
	close(a.news)
	a.news = make(chan struct{})
}

// of is who made a transaction. Word of it may come a little later than it can be seen.
func (a *modifierLog) of(transaction uint32) firewall.Modifier {
	for late := time.After(authorLate); ; {
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
