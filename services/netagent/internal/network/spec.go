package network

import (
	"net"
	"net/netip"

	"github.com/fairlead/fairlead/proto/egress"
)

// Scope is the set of hosts that a network spans. The values are Docker's.
type Scope string

// The scopes.
const (
	Local  Scope = "local"  // this host
	Global Scope = "global" // all hosts of a fleet
)

// Origin is the source of a network.
type Origin string

// The origins.
const (
	OriginUser       Origin = ""           // a request of a user
	OriginPredefined Origin = "predefined" // the configuration of the agent
	OriginConfigOnly Origin = "configonly" // a request; holds configuration for other networks
)

// Spec is the requested state of a network, with all defaults. An update replaces it.
type Spec struct {
	Internal        bool              // no traffic enters or leaves
	Encrypted       bool              `json:",omitempty"` // packets to other hosts of the fleet are encrypted
	MTU             int               // 0: that of the parent interface
	Pools           []Pool            // IPv4 first; a bridge has at most one per family
	DHCP4           bool              `json:",omitempty"` // a DHCP server on the LAN assigns IPv4 addresses
	DHCP6           bool              `json:",omitempty"` // DHCPv6 or SLAAC on the LAN assigns IPv6 addresses
	DNS             []netip.Addr      `json:",omitempty"` // upstreams of its containers; none: the configured ones
	Egress          []string          `json:",omitempty"` // rules of containers without rules of their own
	Limits          egress.Defaults   `json:",omitzero"`  // of containers without limits of their own
	Labels          map[string]string `json:",omitempty"` // labels of the user
	Options         map[string]string `json:",omitempty"` // driver options as given
	InterfacePrefix string            `json:",omitempty"` // of names in containers; empty: DefaultPrefix
	ConfigFrom      string            `json:",omitempty"` // name of the configuration network it was created from
	Attachable      bool              `json:",omitempty"` // as in Docker, without an effect
	IPAMOptions     map[string]string `json:",omitempty"` // as given, without an effect
	AnnounceTimes   *int              `json:",omitempty"` // number of gratuitous ARP packets; nil: default
	AnnounceEvery   *int              `json:",omitempty"` // their interval in milliseconds; nil: default

	// The options of the driver. The others are nil. Callers must not modify them after the network
	// is stored, because copies of a network share them.
	Bridge  *Bridge  `json:",omitempty"`
	Macvlan *Macvlan `json:",omitempty"`
	IPvlan  *IPvlan  `json:",omitempty"`
}

// Bridge holds the options of a bridge network.
type Bridge struct {
	Device            string // link name
	Masquerade        bool
	InterContainer    bool       // containers can connect to each other
	InhibitIPv4       bool       `json:",omitempty"` // the bridge does not get the IPv4 gateway address
	HostBinding       netip.Addr // default host address of port mappings; zero: all addresses
	TrustedInterfaces []string   `json:",omitempty"` // interfaces with direct access to its containers
	IPv4, IPv6        BridgeFamily
}

// BridgeFamily holds the options of one address family of a bridge network.
type BridgeFamily struct {
	Mode string     `json:",omitempty"` // gateway mode; empty: ModeNAT
	SNAT netip.Addr // source address of egress; zero: masquerade
}

// ParentSpec holds the common options of macvlan and ipvlan networks.
type ParentSpec struct {
	Link    string // the parent interface
	Mode    string
	NoShim  bool `json:",omitempty"` // the host has no route to the containers
	NoProbe bool `json:",omitempty"` // no address conflict detection
}

// Macvlan holds the options of a macvlan network.
type Macvlan struct{ ParentSpec }

// IPvlan holds the options of an ipvlan network.
type IPvlan struct {
	ParentSpec
	Flag string
}

// Status is the state that follows from the spec and its earlier versions. The agent writes it.
type Status struct {
	// Generation counts the changes of the spec that concern sandboxes, Followed the last one that is
	// applied to all of them.
	Generation uint64
	Followed   uint64
	// AppliedFingerprint is the firewall content that natagent has acknowledged; empty: none.
	AppliedFingerprint string `json:",omitempty"`

	Former        []Pool           `json:",omitempty"` // former pools that containers still have addresses of
	FormerSubnets []netip.Prefix   `json:",omitempty"` // all earlier subnets; static addresses in them are translated
	Renumbering   bool             `json:",omitempty"` // containers with addresses of former pools get new ones
	MAC           net.HardwareAddr `json:",omitempty"` // of the bridge, kept since renumbering; nil: derived
	AdoptedBridge bool             `json:",omitempty"` // the bridge existed before and is kept
	Deleting      bool             `json:",omitempty"` // deletion has started; endpoints cannot be attached

	// Of global networks:
	Marked bool           `json:",omitempty"` // the fleet knows that this host has the network
	Up     bool           `json:",omitempty"` // it is set up on this host
	Blocks []netip.Prefix `json:",omitempty"` // address blocks of this host
}

// EndpointsOutdated reports whether a change of the network is not applied to all endpoints.
func (s Status) EndpointsOutdated() bool { return s.Followed < s.Generation }

// WithoutFormer returns the status of a network without former pools.
func (s Status) WithoutFormer() Status {
	s.Former, s.FormerSubnets, s.Renumbering, s.MAC = nil, nil, false, nil
	return s
}

// Changed returns the status after another change of the spec that concerns sandboxes.
func (s Status) Changed() Status {
	s.Generation++
	return s
}

// FollowedMTU returns the MTU that running endpoints get with a change of the network that is not
// applied to all of them yet; 0: they keep theirs, which a container can have changed. A configured
// MTU of a predefined network applies to new endpoints only.
func (n Network) FollowedMTU() int {
	if !n.Status.EndpointsOutdated() || n.IsPredefined() {
		return 0
	}
	return n.Spec.MTU
}

// IsPredefined reports whether the network comes from the configuration of the agent.
func (n Network) IsPredefined() bool { return n.Origin == OriginPredefined }

// IsConfigOnly reports whether the network only holds configuration for other networks.
func (n Network) IsConfigOnly() bool { return n.Origin == OriginConfigOnly }

// Bridge returns the options of a bridge network. They are zero for other drivers.
func (n Network) Bridge() Bridge {
	if n.Spec.Bridge == nil {
		return Bridge{}
	}
	return *n.Spec.Bridge
}

// Parent returns the options of the parent interface. They are zero for other drivers than macvlan
// and ipvlan.
func (n Network) Parent() ParentSpec {
	if p := n.Spec.parent(); p != nil {
		return *p
	}
	return ParentSpec{}
}

// parent returns the options of the parent interface to set them; nil for other drivers.
func (s *Spec) parent() *ParentSpec {
	switch {
	case s.Macvlan != nil:
		return &s.Macvlan.ParentSpec
	case s.IPvlan != nil:
		return &s.IPvlan.ParentSpec
	}
	return nil
}

// IPvlanFlag returns the flag of an ipvlan network.
func (n Network) IPvlanFlag() string {
	if n.Spec.IPvlan == nil {
		return ""
	}
	return n.Spec.IPvlan.Flag
}

// ICC reports whether containers of the network can connect to each other.
func (n Network) ICC() bool { return n.Bridge().InterContainer || n.HasParent() }

// withDriver returns the spec with zero options of a driver.
func (s Spec) withDriver(driver string) Spec {
	switch driver {
	case DriverBridge, DriverOverlay:
		s.Bridge = &Bridge{Masquerade: true, InterContainer: true}
	case DriverMacvlan:
		s.Macvlan = &Macvlan{}
	case DriverIPvlan:
		s.IPvlan = &IPvlan{}
	}
	return s
}
