// Package servers decides about the connections of containers with rules for names, by the name that the client
// asks the server for. Package egress creates it and writes the rules that queue the packets.
package servers

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/nfqueue"
	"github.com/fairlead/fairlead/services/natagent/internal/refusals"
	"github.com/fairlead/fairlead/services/natagent/internal/servername"
)

// Queues of packets of the client, of the server, of which only headers and the first bytes matter, and of QUIC
// clients.
const (
	QueueClient = 1071
	QueueServer = 1072
	QueueQUIC   = 1073

	clientLength = 0xffff
	serverLength = 256
	maxQueued    = 8192
)

// Marks of packets that the rules see again.
const (
	MarkVerified = 0x4fa1c0de // the rest of the connection is not queued
	MarkRefused  = 0x4fa1c0df
)

// Reason is the reason of refusals.
const Reason = "server"

const (
	recordRate = 100 // records in a second
	retry      = time.Second
)

// Client is a container with rules for names. It implements servername.Owner.
type Client struct {
	Owner, Name string
	Policy      egress.Policy
	MACs        []servername.MAC
}

// ID implements servername.Owner.
func (c *Client) ID() string { return c.Owner }

// AllowsServer reports whether the policy allows a server by a name. It implements servername.Owner.
func (c *Client) AllowsServer(name string, server netip.AddrPort) bool {
	return c.Policy.AllowsServer(name, server)
}

// AllowsQUIC reports whether the policy allows a server by a name over QUIC. It implements servername.Owner.
func (c *Client) AllowsQUIC(name string, server netip.AddrPort) bool {
	return c.Policy.AllowsQUIC(name, server)
}

// Flows deletes conntrack entries.
type Flows interface {
	DeleteTCP(client, server netip.AddrPort) error
}

// Servers decides about queued packets. It has locks of its own, so that packets do not wait for changes of
// policies. It is safe for concurrent use.
type Servers struct {
	flows   Flows
	journal *refusals.Journal
	log     *slog.Logger
	checker *servername.Checker

	mu      sync.RWMutex
	byMAC   map[servername.MAC]*Client
	byOwner map[string]*Client
	refused map[string]uint64 // connections, by owner
	second  time.Time         // of records
	records int               // in this second
}

// New returns Servers without clients.
func New(flows Flows, records *refusals.Journal, log *slog.Logger) *Servers {
	s := &Servers{flows: flows, journal: records, log: log, byMAC: map[servername.MAC]*Client{},
		byOwner: map[string]*Client{}, refused: map[string]uint64{}}
	s.checker = servername.New(s.find)
	return s
}

// find returns the container with an interface, or nil.
func (s *Servers) find(mac servername.MAC) servername.Owner {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if c := s.byMAC[mac]; c != nil {
		return c
	}
	return nil
}

// Put sets or replaces a container. If it had no rules for names in QUIC, connections that began then are not
// known.
func (s *Servers) Put(c *Client) {
	if !s.put(c) {
		s.checker.ForgetQUIC(c.Owner) // the checker calls find while it is locked
	}
}

// put reports whether the container had rules for names in QUIC.
func (s *Servers) put(c *Client) (had bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.byOwner[c.Owner]; old != nil {
		had = slices.ContainsFunc(old.Policy, egress.Rule.ChecksQUIC)
	}
	s.remove(c.Owner)
	s.byOwner[c.Owner] = c
	for _, mac := range c.MACs {
		s.byMAC[mac] = c
	}
	return had
}

// Remove removes a container. It does nothing if there is none.
func (s *Servers) Remove(owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(owner)
}

func (s *Servers) remove(owner string) {
	c := s.byOwner[owner]
	if c == nil {
		return
	}
	for _, mac := range c.MACs {
		if s.byMAC[mac] == c {
			delete(s.byMAC, mac)
		}
	}
	delete(s.byOwner, owner)
	delete(s.refused, owner)
}

// Refused returns the number of connections of a container that were refused since its last Put.
func (s *Servers) Refused(owner string) uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.refused[owner]
}

// Open opens the queues in a network namespace, for Run.
func Open(netns int) (*nfqueue.Queues, error) {
	return nfqueue.Open(netns, nfqueue.Config{Number: QueueClient, Length: clientLength, Max: maxQueued},
		nfqueue.Config{Number: QueueServer, Length: serverLength, Max: maxQueued},
		nfqueue.Config{Number: QueueQUIC, Length: clientLength, Max: maxQueued, Split: true})
}

// Run decides about packets until ctx ends. opened can be nil.
func (s *Servers) Run(ctx context.Context, netns int, opened *nfqueue.Queues) {
	for ctx.Err() == nil {
		var err error
		if opened == nil {
			opened, err = Open(netns)
		}
		if err == nil {
			err = opened.Read(ctx, s.decide)
		}
		if err == nil {
			return
		}
		opened = nil
		s.checker.ForgetHeld()
		s.log.Warn("names of servers are not checked, connections wait", "error", err)
		select {
		case <-time.After(retry):
		case <-ctx.Done():
		}
	}
}

// decide decides about a packet.
func (s *Servers) decide(p nfqueue.Packet) (nfqueue.Verdict, func()) {
	reply := p.Queue == QueueServer
	if p.Truncated && !reply {
		return nfqueue.Verdict{Code: nfqueue.Drop}, nil
	}
	v := s.checker.Check(servername.Packet{Data: p.Data, MAC: p.Sender, Reply: reply, ID: p.ID})
	out := verdictOf(v.Action)
	for _, id := range v.Late {
		out.Also = append(out.Also, nfqueue.Held{ID: id, Code: nfqueue.Drop})
	}
	for _, id := range v.Release {
		out.Also = append(out.Also, nfqueue.Held{ID: id, Code: out.Code, Mark: out.Mark})
	}
	if v.Action == servername.Refuse {
		return out, func() { s.refuse(v) }
	}
	return out, nil
}

func verdictOf(a servername.Action) nfqueue.Verdict {
	switch a {
	case servername.Accept:
		return nfqueue.Verdict{Code: nfqueue.Accept}
	case servername.Verified:
		return nfqueue.Verdict{Code: nfqueue.Repeat, Mark: MarkVerified}
	case servername.Refuse:
		return nfqueue.Verdict{Code: nfqueue.Repeat, Mark: MarkRefused}
	case servername.Hold:
		return nfqueue.Verdict{Code: nfqueue.Hold}
	}
	return nfqueue.Verdict{Code: nfqueue.Drop}
}

// refuse records a refused connection. The conntrack entry of TCP would stay for days, as the kernel does not see
// it end.
func (s *Servers) refuse(v servername.Verdict) {
	if !v.UDP {
		if err := s.flows.DeleteTCP(v.Client, v.Server); err != nil {
			s.log.Warn("refused connection stays in conntrack", "error", err)
		}
	}
	r, ok := s.count(v)
	if r.Owner == "" {
		return
	}
	if !ok {
		s.journal.AddLost(1)
		return
	}
	s.journal.Add(r)
}

// count counts a connection, and returns its record; ok is false if there are too many.
func (s *Servers) count(v servername.Verdict) (r refusals.Refusal, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.byOwner[v.Owner]
	if c == nil {
		return r, false
	}
	now := time.Now()
	if now.Sub(s.second) >= time.Second {
		s.second, s.records = now, 0
	}
	s.records++
	s.refused[v.Owner]++
	protocol := egress.TCP
	if v.UDP {
		protocol = egress.UDP
	}
	return refusals.Refusal{Time: now, Owner: c.Owner, Name: c.Name, Reason: Reason, Protocol: string(protocol),
		Address: v.Server.Addr(), Port: v.Server.Port(), Domain: v.Name}, s.records <= recordRate
}
