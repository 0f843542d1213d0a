package servername

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/fairlead/fairlead/services/natagent/internal/servername/quichello"
)

// Limits of QUIC. Its flows pass without being checked after the handshake, so that they are forgotten soon.
const (
	maxQUIC            = 8192
	maxQUICPerOwner    = 256
	maxWaiting         = 1024
	maxWaitingPerOwner = 64
	waitTime           = 30 * time.Second
	idleQUIC           = 5 * time.Minute
)

// datagram is a UDP datagram.
type datagram struct {
	from, to netip.AddrPort
	payload  []byte
}

// parseDatagram reads an IP packet; ok is false if it is not a complete UDP datagram.
func parseDatagram(data []byte) (d datagram, ok bool) {
	const header = 8
	src, dst, udp, ok := parseIP(data, protoUDP)
	if !ok || len(udp) < header {
		return d, false
	}
	length := int(binary.BigEndian.Uint16(udp[4:]))
	if length < header || length > len(udp) {
		return d, false
	}
	return datagram{netip.AddrPortFrom(src, binary.BigEndian.Uint16(udp)),
		netip.AddrPortFrom(dst, binary.BigEndian.Uint16(udp[2:])), udp[header:length]}, true
}

// quicFlow is the datagrams of a client to a server.
type quicFlow struct {
	mac    MAC
	owner  string
	used   time.Time
	reader quichello.Flow
}

// waiting is a datagram with a part of a ClientHello that is not complete.
type waiting struct {
	id    uint32
	flow  *quicFlow
	since time.Time
}

// datagrams has the flows of QUIC.
type datagrams struct {
	flows   map[connection]*quicFlow
	count   map[string]int // flows by owner
	waiting []waiting      // oldest first
	ended   recent[bool]
}

func newDatagrams() datagrams {
	return datagrams{flows: map[connection]*quicFlow{}, count: map[string]int{}}
}

// datagram decides about a datagram of a client. Datagrams with parts of a ClientHello wait until it is complete:
// clients send the parts in any order, and it is not known which of them the server has.
func (c *Checker) datagram(p Packet, d datagram) Verdict {
	late := c.quic.expire(c.now())
	v := c.decideDatagram(p, d)
	v.UDP, v.Late = true, late
	return v
}

func (c *Checker) decideDatagram(p Packet, d datagram) Verdict {
	key := connection{d.from, d.to}
	f := c.quic.flows[key]
	if p.MAC == (MAC{}) { // a part of a packet that the kernel has split has no sender
		if p.MAC = c.macOf(d.from.Addr()); f != nil {
			p.MAC = f.mac
		}
	}
	owner := c.find(p.MAC)
	if p.Reply || owner == nil {
		return Verdict{Action: Drop}
	}
	if f == nil {
		if len(c.quic.flows) >= maxQUIC || c.quic.count[owner.ID()] >= maxQUICPerOwner {
			return Verdict{Action: Drop}
		}
		f = &quicFlow{mac: p.MAC, owner: owner.ID()}
	}
	if f.mac != p.MAC || f.owner != owner.ID() {
		return Verdict{Action: Drop}
	}

	names, state, err := f.reader.Datagram(d.payload)
	if state == quichello.Complete && len(names) == 0 {
		names = f.reader.Names()
	}
	denied := slices.IndexFunc(names, func(name string) bool { return !owner.AllowsQUIC(name, key.server) })
	switch {
	case denied >= 0:
		return c.quic.refuse(key, f, names[denied])
	case err != nil:
		return c.quic.refuse(key, f, "")
	case state == quichello.Useless:
		return Verdict{Action: Drop}
	}

	f.used = c.now()
	c.quic.keep(key, f)
	if state == quichello.Waiting {
		return c.quic.wait(p.ID, f)
	}
	v := Verdict{Action: Verified}
	if f.reader.Whole() { // parts of another connection wait for its own name
		v.Release = c.quic.release(f)
	}
	return v
}

// ForgetHeld forgets the datagrams that wait, after the kernel has dropped them with their queue.
func (c *Checker) ForgetHeld() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quic.waiting = nil
}

// keep remembers a flow.
func (d *datagrams) keep(key connection, f *quicFlow) {
	if d.flows[key] == nil {
		d.flows[key] = f
		d.count[f.owner]++
	}
}

func (d *datagrams) forget(key connection, f *quicFlow) {
	if d.flows[key] != f {
		return
	}
	delete(d.flows, key)
	if d.count[f.owner]--; d.count[f.owner] <= 0 {
		delete(d.count, f.owner)
	}
}

// ForgetQUIC forgets the QUIC connections of an owner. Those whose handshake has ended continue as long as the
// kernel knows them.
func (c *Checker) ForgetQUIC(owner string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, f := range c.quic.flows {
		if f.owner == owner {
			c.quic.forget(key, f)
		}
	}
}

// wait makes a datagram wait, unless too many do.
func (d *datagrams) wait(id uint32, f *quicFlow) Verdict {
	n := 0
	for _, w := range d.waiting {
		if w.flow.owner == f.owner {
			n++
		}
	}
	if len(d.waiting) >= maxWaiting || n >= maxWaitingPerOwner {
		return Verdict{Action: Drop}
	}
	d.waiting = append(d.waiting, waiting{id, f, f.used})
	return Verdict{Action: Hold}
}

// release returns the datagrams of a flow that waited, in order.
func (d *datagrams) release(f *quicFlow) (ids []uint32) {
	d.waiting = slices.DeleteFunc(d.waiting, func(w waiting) bool {
		if w.flow == f {
			ids = append(ids, w.id)
		}
		return w.flow == f
	})
	return ids
}

// expire returns the datagrams that have waited for too long. Their senders have sent them again.
func (d *datagrams) expire(now time.Time) (ids []uint32) {
	for len(d.waiting) > 0 && now.Sub(d.waiting[0].since) > waitTime {
		ids = append(ids, d.waiting[0].id)
		d.waiting = d.waiting[1:]
	}
	return ids
}

// refuse ends a flow. The client can send it again before it learns that.
func (d *datagrams) refuse(key connection, f *quicFlow, name string) Verdict {
	v := Verdict{Action: Refuse, Client: key.client, Server: key.server, Name: name, Release: d.release(f)}
	d.forget(key, f)
	if _, again := d.ended.get(key); !again {
		v.Owner = f.owner
	}
	d.ended.put(key, true)
	return v
}

// sweep forgets idle flows.
func (d *datagrams) sweep(now time.Time) {
	for key, f := range d.flows {
		if now.Sub(f.used) > idleQUIC {
			d.forget(key, f)
		}
	}
}
