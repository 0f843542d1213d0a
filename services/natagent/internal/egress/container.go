// Package egress enforces what containers may reach: it keeps two nf_tables tables in the kernel, one
// chain per container, and reads what they refuse. Package natagent creates the Enforcer, package api
// calls it.
//
// The tables do not depend on the firewall backend: what they drop stays dropped. Domains are enforced
// by addresses that dnsagent reports before it answers the container. Without nf_tables a policy is
// rejected. The policy itself belongs to package proto/egress.
//
//	inet fairlead-egress    forward, input: source MAC -> chain of the container for outgoing traffic
//	                        forward-ingress, output: destination -> its chain for incoming traffic
//	bridge fairlead-egress  postrouting: nothing passes to interfaces whose policy is not in force yet
//	                        prerouting: frames from and to these containers go through the host, so
//	                        that traffic between containers of one bridge passes the table above
package egress

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
	Owner     string   // container ID
	Name      string   // for messages
	Rules     []string // for outgoing traffic; empty: everything
	Ingress   []string `json:",omitempty"` // for incoming traffic; empty: everything
	Endpoints []Endpoint
}

// Endpoint is a connection of a container to a bridge.
type Endpoint struct {
	NetworkID string
	MAC       string
	Addresses []netip.Addr // none: the policy is not in force yet, so that nothing passes
}

// isHeld reports whether nothing passes from and to the interface yet.
func (e Endpoint) isHeld() bool { return len(e.Addresses) == 0 }

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

// addresses returns the addresses of all endpoints.
func (c *Container) addresses() (all []netip.Addr) {
	for _, e := range c.Endpoints {
		all = append(all, e.Addresses...)
	}
	return all
}

// held returns the MAC addresses of interfaces that nothing passes from and to yet.
func (c *Container) held() (all []net.HardwareAddr) {
	for _, e := range c.Endpoints {
		if mac, err := net.ParseMAC(e.MAC); e.isHeld() && err == nil {
			all = append(all, mac)
		}
	}
	return all
}

// equal reports whether nothing must be written to get from c to o.
func (c *Container) equal(o *Container) bool {
	return c.Owner == o.Owner && c.Name == o.Name && slices.Equal(c.Rules, o.Rules) &&
		slices.Equal(c.Ingress, o.Ingress) &&
		slices.EqualFunc(c.Endpoints, o.Endpoints, func(a, b Endpoint) bool {
			return a.NetworkID == b.NetworkID && a.MAC == b.MAC && slices.Equal(a.Addresses, b.Addresses)
		})
}

func (c *Container) subject() string {
	if c.Name != "" {
		return "container " + c.Name
	}
	return "container " + id.Short(c.Owner)
}

// validate rejects what cannot be enforced.
func (c *Container) validate() error {
	if !id.Valid(c.Owner) {
		return fault.Invalidf("policy", "owner", "%q is not a container ID of %d hexadecimal digits", c.Owner, id.Len)
	}
	if _, err := egress.Parse(c.Rules); err != nil {
		return fault.New(fault.Invalid, c.subject(), "egress policy is not valid: "+err.Error())
	}
	if _, err := egress.ParseIngress(c.Ingress); err != nil {
		return fault.New(fault.Invalid, c.subject(), "ingress policy is not valid: "+err.Error())
	}

	for _, e := range c.Endpoints {
		if mac, err := net.ParseMAC(e.MAC); err != nil || len(mac) != macLength {
			return fault.Invalidf(c.subject(), "mac", "%q is not a MAC address", e.MAC)
		}
		if slices.ContainsFunc(e.Addresses, func(a netip.Addr) bool { return !a.IsValid() }) {
			return fault.Invalidf(c.subject(), "addresses", "the endpoint on network %s has no valid address",
				id.Short(e.NetworkID))
		}
	}

	return nil
}

const macLength = 6
