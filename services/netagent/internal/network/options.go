package network

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// The options of bridge networks, in Docker's keys.
const (
	OptBridgeName  = "com.docker.network.bridge.name"
	OptICC         = "com.docker.network.bridge.enable_icc"
	OptMasquerade  = "com.docker.network.bridge.enable_ip_masquerade"
	OptHostBinding = "com.docker.network.bridge.host_binding_ipv4"
	OptInhibitIPv4 = "com.docker.network.bridge.inhibit_ipv4"
	OptMode4       = "com.docker.network.bridge.gateway_mode_ipv4"
	OptMode6       = "com.docker.network.bridge.gateway_mode_ipv6"
	OptTrusted     = "com.docker.network.bridge.trusted_host_interfaces"
	OptSource4     = "com.docker.network.host_ipv4"
	OptSource6     = "com.docker.network.host_ipv6"
	OptMTU         = "com.docker.network.driver.mtu"
	OptPrefix      = "com.docker.network.container_iface_prefix"
	OptNoProxy     = "com.docker.network.driver.private.no_proxy_6to4"
	OptIPv4        = "com.docker.network.enable_ipv4"
	OptIPv6        = "com.docker.network.enable_ipv6"
)

// setters returns the setters of the bridge options.
func setters() map[string]func(*Network, string) error {
	out := map[string]func(*Network, string) error{
		OptBridgeName: func(n *Network, v string) error {
			if n.Spec.Bridge.Device = v; !ValidLinkName(v) {
				return badOption(OptBridgeName, v,
					"is not a valid interface name: 1 to 15 characters, no spaces, slashes or colons")
			}
			return nil
		},
		OptICC:         flag(OptICC, func(n *Network) *bool { return &n.Spec.Bridge.InterContainer }),
		OptMasquerade:  flag(OptMasquerade, func(n *Network) *bool { return &n.Spec.Bridge.Masquerade }),
		OptInhibitIPv4: flag(OptInhibitIPv4, func(n *Network) *bool { return &n.Spec.Bridge.InhibitIPv4 }),
		OptHostBinding: func(n *Network, v string) (err error) {
			if n.Spec.Bridge.HostBinding, err = netip.ParseAddr(v); err != nil ||
				n.Spec.Bridge.HostBinding.Zone() != "" {
				return badOption(OptHostBinding, v, "is not a valid IP address")
			}
			n.Spec.Bridge.HostBinding = n.Spec.Bridge.HostBinding.Unmap() // as of -p
			return nil
		},
		// accepted without effect: there is no proxy
		OptNoProxy: flag(OptNoProxy, func(*Network) *bool { return new(bool) }),
		OptMode4:   gatewayMode(OptMode4, func(n *Network) *string { return &n.Spec.Bridge.IPv4.Mode }),
		OptMode6:   gatewayMode(OptMode6, func(n *Network) *string { return &n.Spec.Bridge.IPv6.Mode }),
		OptSource4: source(OptSource4, func(n *Network) *netip.Addr { return &n.Spec.Bridge.IPv4.SNAT },
			netip.Addr.Is4),
		OptSource6: source(OptSource6, func(n *Network) *netip.Addr { return &n.Spec.Bridge.IPv6.SNAT },
			netip.Addr.Is6),
		OptTrusted: func(n *Network, v string) error {
			n.Spec.Bridge.TrustedInterfaces = strings.Split(v, ":")
			for _, name := range n.Spec.Bridge.TrustedInterfaces {
				if !ValidLinkName(name) {
					return badOption(OptTrusted, v, "contains the invalid interface name "+Quote(name)+
						"; separate names by colons")
				}
			}
			return nil
		},
		OptMTU: func(n *Network, v string) (err error) {
			if n.Spec.MTU, err = strconv.Atoi(v); err != nil || n.Spec.MTU < 0 || n.Spec.MTU > maxMTU {
				return badOption(OptMTU, v, "invalid MTU number: "+v)
			}
			return nil
		},
		OptPrefix: func(n *Network, v string) error {
			if n.Spec.InterfacePrefix = v; !ValidLinkName(v + "0") {
				return badOption(OptPrefix, v, "is not a valid start of an interface name")
			}
			return nil
		},
	}

	maps.Copy(out, announceSetters())
	return out
}

// optEncrypted is Docker's option for networks whose traffic between hosts is encrypted.
const optEncrypted = "encrypted"

// overlaySetters returns the setters of the options of overlay networks.
func overlaySetters() map[string]func(*Network, string) error {
	all := setters()
	return map[string]func(*Network, string) error{
		OptMTU: all[OptMTU],
		optEncrypted: func(n *Network, v string) (err error) {
			if n.Spec.Encrypted = true; v == "" { // as Docker's users write it
				return nil
			}
			if n.Spec.Encrypted, err = strconv.ParseBool(v); err != nil {
				return badOption(optEncrypted, v, "is neither true nor false")
			}
			return nil
		},
	}
}

// The gateway modes of a bridge, as in Docker. They define the ingress to its containers.
const (
	ModeNAT         = "nat"             // by published ports; the default
	ModeUnprotected = "nat-unprotected" // also by direct access
	ModeRouted      = "routed"          // by direct access to published ports, without NAT
	ModeIsolated    = "isolated"        // none, and the host has no address on the bridge
)

func gatewayMode(key string, where func(*Network) *string) func(*Network, string) error {
	return func(n *Network, v string) error {
		switch v {
		case ModeNAT, ModeUnprotected, ModeRouted, ModeIsolated:
			*where(n) = v
			return nil
		}
		return fault.New(fault.Invalid, "option "+key+"="+v, "failed to parse "+key+" value: "+v+
			" (unknown gateway mode "+v+")",
			fault.WithField("options"), fault.WithHint("use nat, nat-unprotected, routed or isolated"))
	}
}

// checkModes rejects gateway modes that contradict other options.
func (n Network) checkModes() error {
	if !n.Spec.Internal && (n.Bridge().IPv4.Mode == ModeIsolated || n.Bridge().IPv6.Mode == ModeIsolated) {
		return fault.New(fault.Invalid, n.Subject(), "gateway mode 'isolated' can only be used for an internal network",
			fault.WithField("options"),
			fault.WithHint("add --internal"))
	}

	untranslated := func(key string, value netip.Addr, mode string) error {
		if !value.IsValid() || mode != ModeRouted || value.IsUnspecified() {
			return nil
		}
		return badOption(key, value.String(),
			"nothing is translated in gateway mode 'routed', so no address of the host is used")
	}

	binding := n.Bridge().IPv4.Mode
	if n.Bridge().HostBinding.Is6() {
		binding = n.Bridge().IPv6.Mode
	}

	return errors.Join(untranslated(OptSource4, n.Bridge().IPv4.SNAT, n.Bridge().IPv4.Mode),
		untranslated(OptSource6, n.Bridge().IPv6.SNAT, n.Bridge().IPv6.Mode),
		untranslated(OptHostBinding, n.Bridge().HostBinding, binding))
}

func source(key string, where func(*Network) *netip.Addr, is func(netip.Addr) bool) func(*Network, string) error {
	return func(n *Network, v string) (err error) {
		if *where(n), err = netip.ParseAddr(v); err != nil || !is(*where(n)) || where(n).Zone() != "" ||
			where(n).IsUnspecified() || where(n).Is4In6() {
			return badOption(key, v, "is not a valid address of this family")
		}
		return nil
	}
}

func flag(key string, where func(*Network) *bool) func(*Network, string) error {
	return func(n *Network, v string) (err error) {
		if *where(n), err = strconv.ParseBool(v); err != nil {
			return badOption(key, v, "is neither true nor false")
		}
		return nil
	}
}

// applyOptions applies the driver options to the network. It returns an error for each invalid
// option.
func (n *Network) applyOptions(options map[string]string) []error {
	var errs []error
	known := setters()
	if n.HasParent() {
		known = parentSetters(n.Driver)
	}
	if n.Driver == DriverOverlay {
		known = overlaySetters()
	}

	for _, key := range slices.Sorted(maps.Keys(options)) {
		if set, ok := known[key]; ok {
			if err := set(n, options[key]); err != nil {
				errs = append(errs, err)
			}
			continue
		}
		errs = append(errs, fault.New(fault.Invalid, "option "+key, "is not known", fault.WithField("options"),
			fault.WithHint("%s networks have %s", n.Driver, strings.Join(slices.Sorted(maps.Keys(known)), ", "))))
	}

	return errs
}

func badOption(key, value, message string) error {
	return fault.New(fault.Invalid, "option "+key+"="+value, message, fault.WithField("options"))
}

// Family parses the option that enables an address family; given is false if the option is not set.
func Family(options map[string]string, key string) (on, given bool, err error) {
	v, given := options[key]
	if !given {
		return false, false, nil
	}
	if on, err = strconv.ParseBool(v); err != nil {
		return false, true, badOption(key, v, "is neither true nor false")
	}
	return on, true, nil
}
