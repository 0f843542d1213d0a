// Package servers decides about the connections of containers with rules for names, by the name that the client
// asks the server for. Package egress creates it and writes the rules that queue the packets.
package servers

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/ippacket"
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
	recordRate = 100             // records of a container in a second
	maxWork    = 16384           // refused connections whose conntrack entries and records wait
	endDelay   = 2 * time.Second // before the conntrack entry of a refused connection is deleted
	retry      = time.Second
)

// Client is a container with rules for names. It implements servername.Owner.
type Client struct {
	Owner, Name string
	Policy      egress.Policy
	MACs        []servername.MAC
	Addresses   map[netip.Addr]servername.MAC // of the interface that has it
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

// client is a Client with what changes.
type client struct {
	*Client
	class   nfqueue.Class
	refused uint64    // connections since the last Put
	second  time.Time // of records
	records int       // in this second
}

// Servers decides about queued packets. It has locks of its own, so that packets do not wait for changes of
// policies, nor for conntrack and the journal. It is safe for concurrent use.
type Servers struct {
	flows   Flows
	journal *refusals.Journal
	log     *slog.Logger
	checker *servername.Checker
	work    chan refusal
	skipped atomic.Uint64 // refusals since the last message

	mu        sync.RWMutex
	byMAC     map[servername.MAC]*client
	byAddress map[netip.Addr]*client
	byOwner   map[string]*client
	last      nfqueue.Class
}

// New returns Servers without clients.
func New(flows Flows, records *refusals.Journal, log *slog.Logger) *Servers {
	s := &Servers{flows: flows, journal: records, log: log, work: make(chan refusal, maxWork),
		byMAC: map[servername.MAC]*client{}, byAddress: map[netip.Addr]*client{}, byOwner: map[string]*client{}}
	s.checker = servername.New(s.find, s.macOf)
	return s
}

// find returns the container with an interface, or nil.
func (s *Servers) find(mac servername.MAC) servername.Owner {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if c := s.byMAC[mac]; c != nil {
		return c.Client
	}
	return nil
}

// macOf returns the address of the interface that has an IP address, or zero.
func (s *Servers) macOf(a netip.Addr) servername.MAC {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if c := s.byAddress[a]; c != nil {
		return c.Addresses[a]
	}
	return servername.MAC{}
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
	added := &client{Client: c, class: s.last + 1}
	if old := s.byOwner[c.Owner]; old != nil {
		added.class = old.class
	} else {
		s.last++
	}
	s.remove(c.Owner)
	s.byOwner[c.Owner] = added
	for _, mac := range c.MACs {
		s.byMAC[mac] = added
	}
	for a := range c.Addresses {
		s.byAddress[a] = added
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
	for a := range c.Addresses {
		if s.byAddress[a] == c {
			delete(s.byAddress, a)
		}
	}
	delete(s.byOwner, owner)
}

// Refused returns the number of connections of a container that were refused since its last Put.
func (s *Servers) Refused(owner string) uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if c := s.byOwner[owner]; c != nil {
		return c.refused
	}
	return 0
}

// Open opens the queues in a network namespace, for Run.
func Open(netns int) (*nfqueue.Queues, error) {
	return nfqueue.Open(netns, nfqueue.Config{Number: QueueClient, Length: clientLength, Max: maxQueued},
		nfqueue.Config{Number: QueueServer, Length: serverLength, Max: maxQueued},
		nfqueue.Config{Number: QueueQUIC, Length: clientLength, Max: maxQueued, Split: true})
}

// Run decides about packets until ctx ends. opened can be nil.
func (s *Servers) Run(ctx context.Context, netns int, opened *nfqueue.Queues) {
	done := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() { s.complete(done) })
	defer work.Wait()
	defer close(done)
	for ctx.Err() == nil {
		var err error
		if opened == nil {
			opened, err = Open(netns)
		}
		if err == nil {
			err = opened.Read(ctx, s)
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

// Class implements nfqueue.Handler: each container has a class, for both directions.
func (s *Servers) Class(p nfqueue.Packet) nfqueue.Class {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := s.byMAC[p.Sender]
	if p.Queue == QueueServer || p.Sender == [6]byte{} {
		ip, _ := ippacket.Parse(p.Data)
		if c = s.byAddress[ip.From]; p.Queue == QueueServer {
			c = s.byAddress[ip.To.Addr()]
		}
	}
	if c == nil {
		return 0
	}
	return c.class
}

// Decide implements nfqueue.Handler.
func (s *Servers) Decide(p nfqueue.Packet) (nfqueue.Verdict, func()) {
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
