package servers

import (
	"time"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/refusals"
	"github.com/fairlead/fairlead/services/natagent/internal/servername"
)

// refusal is a refused packet.
type refusal struct {
	servername.Verdict
	record *refusals.Refusal // nil for further packets of a connection, and if there are too many
}

// refuse counts a refused connection, and makes complete do the rest.
func (s *Servers) refuse(v servername.Verdict) {
	r := refusal{v, s.count(v)}
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
	for {
		select {
		case r := <-s.work:
			s.completeOne(r)
		case <-done:
			for len(s.work) > 0 {
				s.completeOne(<-s.work)
			}
			return
		}
		if n := s.skipped.Swap(0); n > 0 {
			s.log.Warn("too many connections are refused, some stay in conntrack until they time out", "connections", n)
		}
	}
}

// completeOne deletes the conntrack entry of TCP, which would stay for days, as the kernel does not see the end of the
// connection, and writes the record.
func (s *Servers) completeOne(r refusal) {
	if !r.UDP {
		if err := s.flows.DeleteTCP(r.Client, r.Server); err != nil {
			s.log.Warn("refused connection stays in conntrack", "error", err)
		}
	}
	if r.record != nil {
		s.journal.Add(*r.record)
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
