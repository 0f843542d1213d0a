// Package servername decides about connections to ports 443 and 80 by the name that the client asks for: the
// server name of TLS and of QUIC, and the Host of each HTTP request. Package egress gives it the packets of these
// connections and applies what it decides. It performs no I/O.
//
// The packets of a TCP connection pass one by one: nothing is answered for the server, and nothing is held. A
// part of a request passes before its name is known, as a server cannot act on it. A container can send
// packets that the server does not accept, for instance with a wrong checksum. So the bytes with names are kept
// until the server has acknowledged them; a segment with other bytes at the same place ends the connection.
// What was acknowledged is therefore what was checked.
package servername

import (
	"net/netip"
	"sync"
	"time"
)

// Ports whose connections are checked.
const (
	portTLS  = 443
	portHTTP = 80
)

// Limits.
const (
	maxFlows    = 32768
	maxPerOwner = 4096
	maxKept     = 128 << 10       // bytes of a connection that the server has not acknowledged
	maxJoined   = 1 << 10         // bytes of several segments that are kept as one range
	idle        = time.Hour       // a connection that is idle for longer is forgotten
	idleNew     = 5 * time.Minute // the same, before the server has accepted it
	sweepEvery  = time.Minute
)

// MAC is the address of a container's interface.
type MAC [6]byte

// Owner is the container of a connection.
type Owner interface {
	// AllowsServer reports whether the container may reach a server by a name.
	AllowsServer(name string, server netip.AddrPort) bool
	// AllowsQUIC is AllowsServer for QUIC.
	AllowsQUIC(name string, server netip.AddrPort) bool
	// ID identifies the container.
	ID() string
}

// Packet is a packet of a connection.
type Packet struct {
	Data  []byte // from the IP header on
	MAC   MAC    // the sender's on the last link; zero if the host sends it
	Reply bool   // from the server
	ID    uint32 // identifies the packet while it is held
}

// Action is the fate of a packet.
type Action int

// The actions.
const (
	Drop     Action = iota // nothing else happens; the sender sends it again
	Accept                 // the packet passes
	Verified               // it passes, and the rest of the connection is not checked
	Refuse                 // the connection ends
	Hold                   // it waits for the decision about a later one
)

// Verdict is a decision about a packet.
type Verdict struct {
	Action Action
	UDP    bool
	// IDs of packets that were held: those with the same fate, and those that are dropped.
	Release, Late []uint32
	// Of Refuse:
	Owner  string // ID; empty if it is not known, and for further packets of the connection
	Client netip.AddrPort
	Server netip.AddrPort
	Name   string // that the client asked for; empty if there is none
}

// Checker decides about the packets of all connections. It is safe for concurrent use.
type Checker struct {
	find  func(MAC) Owner      // nil without a policy
	macOf func(netip.Addr) MAC // zero if no container with a policy has the address
	now   func() time.Time

	mu       sync.Mutex
	flows    map[connection]*flow
	count    map[string]int // flows by owner
	ended    recent[bool]   // refused connections
	verified recent[MAC]    // connections, with the client
	quic     datagrams
	swept    time.Time
}

// connection identifies a connection.
type connection struct{ client, server netip.AddrPort }

// New returns a Checker. find returns the container with an interface, or nil, and macOf the interface with an
// address, or zero: for parts of packets that the kernel has split, which have no sender.
func New(find func(MAC) Owner, macOf func(netip.Addr) MAC) *Checker {
	return &Checker{find: find, macOf: macOf, now: time.Now, flows: map[connection]*flow{}, count: map[string]int{},
		quic: newDatagrams()}
}

// Check decides about a packet.
func (c *Checker) Check(p Packet) Verdict {
	s, isTCP := parseSegment(p.Data)
	d, isUDP := datagram{}, false
	if !isTCP {
		d, isUDP = parseDatagram(p.Data)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now().Sub(c.swept) > sweepEvery {
		c.sweep()
	}

	switch {
	case isUDP:
		return c.datagram(p, d)
	case !isTCP:
		return Verdict{Action: Drop}
	case p.Reply:
		return c.reply(p, s)
	}
	return c.request(p, s)
}

// request decides about a packet of the client.
func (c *Checker) request(p Packet, s segment) Verdict {
	key := connection{s.from, s.to}
	f := c.flows[key]
	if s.has(flagSYN) {
		return c.open(key, f, p, s)
	}
	if f == nil { // it began before this process, or the packet was queued before the server's name was verified
		if mac, ok := c.verified.get(key); len(s.payload) == 0 || ok && mac == p.MAC {
			return Verdict{Action: Accept}
		}
		return c.refuse(key, c.find(p.MAC), "")
	}
	if p.MAC != f.mac {
		return Verdict{Action: Drop}
	}

	f.used = c.now()
	owner := c.find(f.mac)
	if owner == nil {
		return c.refuse(key, nil, "")
	}
	action, name := f.request(s, owner, key.server)
	if action == Refuse {
		return c.refuse(key, owner, name)
	}
	c.end(key, f, s)
	return Verdict{Action: action}
}

// open decides about the first packet of a connection. It has no data (TCP Fast Open): the client sends it
// again without.
func (c *Checker) open(key connection, f *flow, p Packet, s segment) Verdict {
	if len(s.payload) > 0 || s.has(flagACK|flagFIN|flagRST|flagURG) {
		return Verdict{Action: Drop}
	}
	if f != nil && f.first == s.seq {
		return Verdict{Action: Accept}
	}
	owner := c.find(p.MAC)
	if owner == nil {
		return Verdict{Action: Drop}
	}
	if f != nil {
		c.forget(key, f)
	}
	if len(c.flows) >= maxFlows || c.count[owner.ID()] >= maxPerOwner {
		return Verdict{Action: Drop}
	}

	c.ended.remove(key)
	c.verified.remove(key)
	c.flows[key] = newFlow(key.server.Port(), p.MAC, owner.ID(), s.seq, c.now())
	c.count[owner.ID()]++
	return Verdict{Action: Accept}
}

// reply decides about a packet of the server. A container cannot send it.
func (c *Checker) reply(p Packet, s segment) Verdict {
	key := connection{s.to, s.from}
	f := c.flows[key]
	if f == nil {
		return Verdict{Action: Accept}
	}
	if o := c.find(p.MAC); p.MAC == f.mac || o != nil && o.ID() == f.owner {
		return Verdict{Action: Drop}
	}

	f.used = c.now()
	action := f.reply(s)
	switch action {
	case Refuse:
		return c.refuse(key, c.find(f.mac), "")
	case Verified:
		c.forget(key, f)
		c.verified.put(key, f.mac)
	case Accept:
		c.end(key, f, s)
	}
	return Verdict{Action: action}
}

// refuse ends a connection. The client can have sent more before it learns that.
func (c *Checker) refuse(key connection, owner Owner, name string) Verdict {
	if f := c.flows[key]; f != nil {
		c.forget(key, f)
	}
	v := Verdict{Action: Refuse, Client: key.client, Server: key.server, Name: name}
	if _, again := c.ended.get(key); owner != nil && !again {
		v.Owner = owner.ID()
	}
	c.ended.put(key, true)
	return v
}

// IsOpen reports whether a connection is being checked, or was verified.
func (c *Checker) IsOpen(client, server netip.AddrPort) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := connection{client, server}
	_, verified := c.verified.get(key)
	return c.flows[key] != nil || verified
}

// end forgets a connection that has ended.
func (c *Checker) end(key connection, f *flow, s segment) {
	if s.has(flagRST) || f.ended() {
		c.forget(key, f)
	}
}

func (c *Checker) forget(key connection, f *flow) {
	delete(c.flows, key)
	if c.count[f.owner]--; c.count[f.owner] <= 0 {
		delete(c.count, f.owner)
	}
}

// sweep forgets idle connections, and those that were refused or verified before the last sweep.
func (c *Checker) sweep() {
	long := c.now().Sub(c.swept) >= 2*sweepEvery
	c.swept = c.now()
	for _, r := range []interface{ age(long bool) }{&c.ended, &c.verified, &c.quic.ended} {
		r.age(long)
	}
	c.quic.sweep(c.swept)
	for key, f := range c.flows {
		limit := idle
		if !f.opened {
			limit = idleNew
		}
		if c.swept.Sub(f.used) > limit {
			c.forget(key, f)
		}
	}
}
