package iptables

import (
	"sync"
	"time"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nfevents"
)

const (
	modifiersKept   = 64 // transactions
	modifierTimeout = 150 * time.Millisecond
)

// modifierLog records which programs made the last nf_tables transactions. The kernel reports this
// only once, in an event.
type modifierLog struct {
	cancel func() // ends the subscription

	mu   sync.Mutex
	by   map[uint32]firewall.Modifier // by transaction number
	news chan struct{}                // closed and replaced for each transaction; nil after close
}

// listen starts to receive events.
func listen(events *nfevents.Source) (a *modifierLog, err error) {
	a = &modifierLog{by: map[uint32]firewall.Modifier{}, news: make(chan struct{})}
	if a.cancel, err = events.Subscribe(a.note); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *modifierLog) close() {
	a.cancel()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.news != nil {
		close(a.news)
		a.news = nil
	}
}

func (a *modifierLog) note(t nfevents.Transaction) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.Lost {
		clear(a.by)
	} else {
		delete(a.by, t.Generation-modifiersKept)
		a.by[t.Generation] = firewall.Modifier{Name: t.Process, PID: t.PID}
	}
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
