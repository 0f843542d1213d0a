package servers

import (
	"net/netip"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/refusals"
	"github.com/fairlead/fairlead/services/natagent/internal/servername"
)

// refusal is a refused packet.
type refusal struct {
	client, server netip.AddrPort // of TCP
	at             time.Time
	record         *refusals.Refusal // nil for further packets of a connection, and if there are too many
}

// refuse counts a refused connection, and makes complete do the rest.
func (s *Servers) refuse(v servername.Verdict) {
	r := refusal{at: time.Now(), record: s.count(v)}
	if !v.UDP {
		r.client, r.server = v.Client, v.Server
	}
	select {
	case s.work <- r:
	default:
		s.skipped.Add(1)
		if r.record != nil {
			s.journal.AddLost(1)
		}
	}
}

// complete completes refusals until done is closed, and those that wait then.
func (s *Servers) complete(done <-chan struct{}) {
	ends := make(chan refusal, maxWork)
	var ending sync.WaitGroup
	ending.Go(func() { s.endAll(ends, done) })
	defer ending.Wait()
	defer close(ends)
	for {
		select {
		case r := <-s.work:
			s.completeOne(r, ends)
		case <-done:
			for len(s.work) > 0 {
				s.completeOne(<-s.work, ends)
			}
			return
		}
		if n := s.skipped.Swap(0); n > 0 {
			s.log.Warn("too many connections are refused, some stay in conntrack until they time out", "connections", n)
		}
	}
}

// completeOne writes the record of a refusal. The connection ends later.
func (s *Servers) completeOne(r refusal, ends chan<- refusal) {
	if r.record != nil {
		s.journal.Add(*r.record)
		r.record = nil
	}
	if !r.client.IsValid() {
		return
	}
	select {
	case ends <- r:
	default:
		s.skipped.Add(1)
	}
}

// endAll deletes the conntrack entries of refused connections, which would stay for days, as the kernel does not see
// their end. It waits until both ends have received it, or until done is closed: packets without an entry would begin a
// connection that is not checked, from the server to the client.
func (s *Servers) endAll(ends <-chan refusal, done <-chan struct{}) {
	for r := range ends {
		select {
		case <-time.After(time.Until(r.at.Add(endDelay))):
		case <-done:
		}
		if s.checker.IsOpen(r.client, r.server) {
			continue // the client has opened another one from the same port
		}
		if err := s.flows.DeleteTCP(r.client, r.server); err != nil {
			s.log.Warn("refused connection stays in conntrack", "error", err)
		}
	}
}

// count counts a connection, and returns its record. If its container has too many, it is counted as lost.
func (s *Servers) count(v servername.Verdict) *refusals.Refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.byOwner[v.Owner]
	if c == nil {
		return nil
	}
	now := time.Now()
	if now.Sub(c.second) >= time.Second {
		c.second, c.records = now, 0
	}
	c.refused++
	if c.records++; c.records > recordRate {
		s.journal.AddLost(1)
		return nil
	}

	protocol := egress.TCP
	if v.UDP {
		protocol = egress.UDP
	}
	return &refusals.Refusal{Time: now, Owner: c.Owner, Name: c.Name, Reason: Reason, Protocol: string(protocol),
		Address: v.Server.Addr(), Port: v.Server.Port(), Domain: v.Name}
}
