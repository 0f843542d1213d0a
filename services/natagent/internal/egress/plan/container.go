// Package plan has the containers with a policy, as they are stored, and what their rules need in the kernel:
// rules of one kind and ports form a group. It is pure. Package egress decides what is in force, package rules
// writes groups as rules of nf_tables. The policy itself belongs to package proto/egress.
package plan

import (
	"net"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
)

// Container is a container with a policy. It is stored.
type Container struct {
	Owner     string        // container ID
	Name      string        // for messages
	Rules     []string      // for outgoing traffic; empty: everything
	Ingress   []string      `json:",omitempty"` // for incoming traffic; empty: everything
	Limits    egress.Limits `json:",omitzero"`  // of all endpoints together
	Endpoints []Endpoint
}

// Endpoint is a connection of a container to a network.
type Endpoint struct {
	NetworkID string
	MAC       string
	Addresses []netip.Addr // none: the policy is not in force yet, so that nothing passes

	// Inside reports that the host does not see its traffic: the rules are in the container's namespace.
	Inside    bool   `json:",omitempty"`
	Interface string `json:",omitempty"` // its name in the container

	Limits   egress.Limits `json:",omitzero"`  // of this endpoint
	BytesOut uint64        `json:",omitempty"` // from the container in a second; 0: no limit
}

// IsHeld reports whether nothing passes from and to the interface yet.
func (e Endpoint) IsHeld() bool { return len(e.Addresses) == 0 }

// macLength is the length of an Ethernet address.
const macLength = 6

// maxInterface is the length of a name that the kernel has no space for.
const maxInterface = 16

// Policy returns the parsed rules. Stored rules are valid.
func (c *Container) Policy() egress.Policy {
	p, err := egress.Parse(c.Rules)
	if err != nil {
		return egress.Policy{} // allows nothing
	}
	return p
}

// IngressPolicy returns the parsed rules for incoming traffic. Stored rules are valid.
func (c *Container) IngressPolicy() egress.Policy {
	p, err := egress.ParseIngress(c.Ingress)
	if err != nil {
		return egress.Policy{} // allows nothing
	}
	return p
}

// Addresses returns the addresses of all endpoints.
func (c *Container) Addresses() (all []netip.Addr) {
	for _, e := range c.Endpoints {
		all = append(all, e.Addresses...)
	}
	return all
}

// LinkLocals returns the addresses that the kernel of a container gives to its interfaces on bridges by itself.
func (c *Container) LinkLocals() (all []netip.Addr) {
	for _, e := range c.Endpoints {
		if mac, err := net.ParseMAC(e.MAC); err == nil && len(mac) == macLength && !e.Inside {
			all = append(all, netip.AddrFrom16([16]byte{0xfe, 0x80, 8: mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3],
				mac[4], mac[5]}))
		}
	}
	return all
}

// AddressesOf returns the bytes of the addresses of one family.
func (c *Container) AddressesOf(v6 bool) (all [][]byte) {
	for _, a := range c.Addresses() {
		if a.Is6() == v6 {
			all = append(all, a.AsSlice())
		}
	}
	return all
}

// MACs returns the MAC addresses of all interfaces.
func (c *Container) MACs() (all [][]byte) {
	for _, e := range c.Endpoints {
		if mac, err := net.ParseMAC(e.MAC); err == nil {
			all = append(all, mac)
		}
	}
	return all
}

// BridgeAddresses returns the addresses of endpoints whose traffic the host sees.
func (c *Container) BridgeAddresses() (all []netip.Addr) {
	for _, e := range c.Endpoints {
		if !e.Inside {
			all = append(all, e.Addresses...)
		}
	}
	return all
}

// IsEmpty reports whether a container has neither rules nor limits.
func (c *Container) IsEmpty() bool { return len(c.Rules)+len(c.Ingress) == 0 && !c.IsLimited() }

// IsRouted reports whether all traffic must pass the IP layer of the host, where connections are known.
func (c *Container) IsRouted() bool {
	return len(c.Rules)+len(c.Ingress) > 0 || c.LimitsConnections()
}

// HasInside reports whether rules must be in the namespace of the container.
func (c *Container) HasInside() bool {
	return slices.ContainsFunc(c.Endpoints, func(e Endpoint) bool { return e.Inside })
}

// IsHeldInside reports whether nothing passes from and to the interfaces that the host does not see: the policy is not
// in force on any of them.
func (c *Container) IsHeldInside() bool {
	return !slices.ContainsFunc(c.Endpoints, func(e Endpoint) bool { return e.Inside && !e.IsHeld() })
}

// Held returns the MAC addresses of interfaces on bridges that nothing passes from and to yet.
func (c *Container) Held() (all []net.HardwareAddr) {
	for _, e := range c.Endpoints {
		if mac, err := net.ParseMAC(e.MAC); !e.Inside && e.IsHeld() && err == nil {
			all = append(all, mac)
		}
	}
	return all
}

// Equal reports whether nothing must be written to get from c to o.
func (c *Container) Equal(o *Container) bool {
	return c.Owner == o.Owner && c.Name == o.Name && slices.Equal(c.Rules, o.Rules) &&
		slices.Equal(c.Ingress, o.Ingress) && c.Limits == o.Limits &&
		slices.EqualFunc(c.Endpoints, o.Endpoints, func(a, b Endpoint) bool {
			return a.NetworkID == b.NetworkID && a.MAC == b.MAC && slices.Equal(a.Addresses, b.Addresses) &&
				a.Inside == b.Inside && a.Interface == b.Interface && a.Limits == b.Limits && a.BytesOut == b.BytesOut
		})
}

// Subject returns the container for messages.
func (c *Container) Subject() string {
	if c.Name != "" {
		return "container " + c.Name
	}
	return "container " + id.Short(c.Owner)
}

// Validate rejects what cannot be enforced.
func (c *Container) Validate() error {
	if !id.Valid(c.Owner) {
		return fault.Invalidf("policy", "owner", "%q is not a container ID of %d hexadecimal digits", c.Owner, id.Len)
	}
	if _, err := egress.Parse(c.Rules); err != nil {
		return fault.New(fault.Invalid, c.Subject(), "egress policy is not valid: "+err.Error())
	}
	if _, err := egress.ParseIngress(c.Ingress); err != nil {
		return fault.New(fault.Invalid, c.Subject(), "ingress policy is not valid: "+err.Error())
	}

	for _, e := range c.Endpoints {
		if mac, err := net.ParseMAC(e.MAC); !e.Inside && (err != nil || len(mac) != macLength) {
			return fault.Invalidf(c.Subject(), "mac", "%q is not a MAC address", e.MAC)
		}
		if len(e.Interface) >= maxInterface {
			return fault.Invalidf(c.Subject(), "interface", "%q is not a name of an interface", e.Interface)
		}
		if slices.ContainsFunc(e.Addresses, func(a netip.Addr) bool { return !a.IsValid() }) {
			return fault.Invalidf(c.Subject(), "addresses", "the endpoint on network %s has no valid address",
				id.Short(e.NetworkID))
		}
	}

	return nil
}

// Peer is a container, a network or a label that rules name, with its present addresses. It is stored.
type Peer struct {
	Name     string // as in rules: "container:db"
	Prefixes []netip.Prefix

	OtherHosts []netip.Prefix `json:",omitempty"` // addresses of containers of other hosts
}

// All returns all addresses.
func (p *Peer) All() []netip.Prefix { return slices.Concat(p.Prefixes, p.OtherHosts) }

// Equal reports whether two peers are equal.
func (p *Peer) Equal(o *Peer) bool {
	return p.Name == o.Name && slices.Equal(p.Prefixes, o.Prefixes) && slices.Equal(p.OtherHosts, o.OtherHosts)
}
