package rules

import (
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
)

// Registers of 4 bytes for a key of a container and an address.
const (
	regContainer = unix.NFT_REG32_00
	regAddress   = unix.NFT_REG32_02
)

// macSpace is the length of a MAC address in a key of several parts.
const macSpace = 8

// learned matches packets to addresses that the container has resolved.
func (b *chainBuilder) learned(index int, f family) []expr.Any {
	set := b.setName(index, setNames, f.v6)
	if !b.isShared() {
		return b.direction.peer(f, set, false)
	}
	return []expr.Any{
		&expr.Payload{DestRegister: regContainer, Base: expr.PayloadBaseLLHeader, Offset: offsetFrom, Len: macLength},
		&expr.Payload{DestRegister: regAddress, Base: expr.PayloadBaseNetworkHeader, Offset: f.daddr, Len: f.length},
		&expr.Lookup{SourceRegister: regContainer, SetName: set},
	}
}

// learnedSet returns the set of learned addresses of a group: of all containers that share the chain, by MAC address,
// or of one.
func learnedSet(t *nftables.Table, chain string, group int, f family, shared bool) *nftables.Set {
	s := &nftables.Set{Table: t, KeyType: f.address, HasTimeout: true, Name: setName(chain, group, setNames, f.v6)}
	if shared {
		s.KeyType, _ = nftables.ConcatSetType(nftables.TypeEtherAddr, f.address) // fails for more types only
	}
	return s
}

// Learned is an address that a container learned, in the kernel.
type Learned struct {
	Set  *nftables.Set
	Keys [][]byte
}

// SharedLearned returns where an address belongs on the host: once for each interface.
func SharedLearned(t *nftables.Table, p *plan.Plan, o answered.Open) (l Learned) {
	l.Set = learnedSet(t, ChainName(p, Outgoing), o.Group, familyOf(o), true)
	for mac := range p.Via {
		l.Keys = append(l.Keys, append(append([]byte(mac), make([]byte, macSpace-len(mac))...), o.Addr.AsSlice()...))
	}
	return l
}

// ParseKey returns the MAC address and the address of a key of SharedLearned.
func ParseKey(key []byte) (mac string, addr []byte, ok bool) {
	if len(key) < macSpace {
		return "", nil, false
	}
	return string(key[:macLength]), key[macSpace:], true
}

// OwnLearned returns where an address belongs in the namespace of a container.
func OwnLearned(t *nftables.Table, p *plan.Plan, o answered.Open) Learned {
	return Learned{learnedSet(t, ChainName(p, Outgoing), o.Group, familyOf(o), false),
		[][]byte{o.Addr.AsSlice()}}
}

func familyOf(o answered.Open) family {
	if o.Addr.Is6() {
		return families()[1]
	}
	return families()[0]
}

// learnedElements returns the addresses of a set in the namespace of a container.
func learnedElements(group int, f family, all map[answered.Open]time.Duration) (out []nftables.SetElement) {
	for o, left := range all {
		if o.Group == group && o.Addr.Is6() == f.v6 {
			out = append(out, nftables.SetElement{Key: o.Addr.AsSlice(), Timeout: left})
		}
	}
	return out
}

// names adds the rules for addresses that the container has resolved.
func (b *chainBuilder) names(index int, g plan.Group) {
	r := g.Rule()
	for _, f := range families() {
		to := join(f.only(), b.learned(index, f))
		public := join(to, Outgoing.peer(f, sharedSet("private", f.v6), true))
		for _, port := range []uint16{egress.PortTLS, egress.PortHTTP} {
			if r.ChecksServer(port) {
				b.add(g.Text, public, hasPorts(unix.IPPROTO_TCP, egress.Ports{First: port, Last: port}), check())
			}
		}
		if r.ChecksQUIC() {
			b.add(g.Text, public, hasPorts(unix.IPPROTO_UDP, g.Ports), check())
		}
		if r.RefusesQUIC() {
			b.refuse("QUIC hides the name, allow it with 443/quic", reasonQUIC, join(public,
				hasPorts(unix.IPPROTO_UDP, egress.Ports{First: egress.PortTLS, Last: egress.PortTLS})))
		}
		for _, p := range protocols(g, f.v6) {
			b.add(g.Text, to, hasPorts(p, g.Ports), accept())
		}
	}
}
