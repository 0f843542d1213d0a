package store

import (
	"encoding/json"
	"net"
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// recordVersion is the version of the stored records.
//   - 1: networks with all fields in one object.
//   - 2: networks with spec, status and options by driver.
const recordVersion = 2

// upgrade converts a record of an earlier version. A commit log can hold records of both versions,
// so a record that is already converted is returned unchanged.
func upgrade(from int, table string, record []byte) ([]byte, error) {
	if from > 1 || table != "networks" {
		return record, nil
	}
	var old struct {
		networkV1
		Spec json.RawMessage // since version 2
	}
	if err := json.Unmarshal(record, &old); err != nil {
		return nil, err
	}
	if old.Spec != nil {
		return record, nil
	}

	return json.Marshal(old.upgraded())
}

// networkV1 is a network in records of version 1.
type networkV1 struct {
	ID, Name, Driver       string
	Predefined, ConfigOnly bool
	CreatedAt              time.Time

	Pools                        []network.Pool
	MTU                          int
	Internal, DHCP4, DHCP6       bool
	Labels, Options              map[string]string
	Prefix, ConfigFrom           string
	DNS                          []netip.Addr
	AnnounceTimes, AnnounceEvery *int

	Bridge                                  string
	Masquerade, InterContainer, InhibitIPv4 bool
	HostBinding, Source4, Source6           netip.Addr
	GatewayMode4, GatewayMode6              string
	TrustedInterfaces                       []string

	Parent, Mode, Flag string
	NoShim, NoProbe    bool

	Former                     []network.Pool
	FormerSubnets              []netip.Prefix
	Renumbering, AdoptedBridge bool
	MAC                        net.HardwareAddr

	AppliedFingerprint, Request string
	EndpointsOutdated, Deleting bool
}

func (o networkV1) upgraded() Network {
	n := Network{Request: o.Request, Network: network.Network{ID: o.ID, Name: o.Name, Driver: o.Driver,
		Scope: network.Local, CreatedAt: o.CreatedAt, Spec: o.spec(),
		Status: network.Status{AppliedFingerprint: o.AppliedFingerprint, Former: o.Former,
			FormerSubnets: o.FormerSubnets, Renumbering: o.Renumbering, MAC: o.MAC, AdoptedBridge: o.AdoptedBridge,
			Deleting: o.Deleting}}}
	if o.EndpointsOutdated {
		n.Status = n.Status.Changed()
	}

	switch {
	case o.Predefined:
		n.Origin = network.OriginPredefined
	case o.ConfigOnly:
		n.Origin = network.OriginConfigOnly
	}

	return n
}

func (o networkV1) spec() network.Spec {
	s := network.Spec{Internal: o.Internal, MTU: o.MTU, Pools: o.Pools, DHCP4: o.DHCP4, DHCP6: o.DHCP6, DNS: o.DNS,
		Labels: o.Labels, Options: o.Options, InterfacePrefix: o.Prefix, ConfigFrom: o.ConfigFrom,
		AnnounceTimes: o.AnnounceTimes, AnnounceEvery: o.AnnounceEvery}
	parent := network.ParentSpec{Link: o.Parent, Mode: o.Mode, NoShim: o.NoShim, NoProbe: o.NoProbe}
	switch o.Driver {
	case network.DriverBridge:
		s.Bridge = &network.Bridge{Device: o.Bridge, Masquerade: o.Masquerade, InterContainer: o.InterContainer,
			InhibitIPv4: o.InhibitIPv4, HostBinding: o.HostBinding, TrustedInterfaces: o.TrustedInterfaces,
			IPv4: network.BridgeFamily{Mode: o.GatewayMode4, SNAT: o.Source4},
			IPv6: network.BridgeFamily{Mode: o.GatewayMode6, SNAT: o.Source6}}
	case network.DriverMacvlan:
		s.Macvlan = &network.Macvlan{ParentSpec: parent}
	case network.DriverIPvlan:
		s.IPvlan = &network.IPvlan{ParentSpec: parent, Flag: o.Flag}
	}
	return s
}
