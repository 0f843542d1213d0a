package egress

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
	"github.com/fairlead/fairlead/services/natagent/internal/ippacket"
	"github.com/fairlead/fairlead/services/natagent/internal/nflog"
)

// index has the containers whose policy is in force, by what records of the kernel have.
type index struct {
	shortIDs  map[string]*plan.Plan
	macs      map[string]*plan.Plan
	addresses map[netip.Addr]*plan.Plan
}

func newIndex() index {
	return index{map[string]*plan.Plan{}, map[string]*plan.Plan{}, map[netip.Addr]*plan.Plan{}}
}

// replace makes a policy take the place of another one of the container. Both can be nil.
func (x index) replace(old, now *plan.Plan) {
	if old != nil {
		remove(x.shortIDs, id.Short(old.Owner), old)
		for mac := range old.Via {
			remove(x.macs, mac, old)
		}
		for _, a := range old.BridgeAddresses() {
			remove(x.addresses, a, old)
		}
	}
	if now != nil {
		x.shortIDs[id.Short(now.Owner)] = now
		for mac := range now.Via {
			x.macs[mac] = now
		}
		for _, a := range now.BridgeAddresses() {
			x.addresses[a] = now
		}
	}
}

// remove removes an entry unless it is that of another policy.
func remove[K comparable](all map[K]*plan.Plan, key K, p *plan.Plan) {
	if all[key] == p {
		delete(all, key)
	}
}

// conflict returns an error if another container has the MAC address of an interface, or an address that rules for
// incoming traffic are about. Elements of one would be those of the other.
func (x index) conflict(p *plan.Plan) error {
	for mac := range p.Via {
		if other := x.macs[mac]; other != nil && other.Owner != p.Owner {
			return fault.New(fault.Conflict, p.Subject(),
				fmt.Sprintf("MAC address %s is that of %s, which has a policy too",
					net.HardwareAddr(mac), other.Subject()), fault.WithField("mac"))
		}
	}
	for _, a := range p.BridgeAddresses() {
		if other := x.addresses[a]; other != nil && other.Owner != p.Owner && len(p.Ingress) > 0 &&
			len(other.Ingress) > 0 {
			return fault.New(fault.Conflict, p.Subject(),
				fmt.Sprintf("address %s is that of %s, which has a policy too", a,
					other.Subject()))
		}
	}
	return nil
}

// find returns the container that a record is about, or nil. short is the ID in the record, if it has one.
func (x index) find(short string, d rules.Direction, l nflog.Packet, p ippacket.Packet) *plan.Plan {
	switch {
	case short != "":
		return x.shortIDs[short]
	case d == rules.Incoming:
		return x.addresses[p.To.Addr()]
	}
	return x.macs[string(l.From)]
}
