package container

import (
	"net/netip"

	"github.com/fairlead/fairlead/ctl/internal/networkspec"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// defaultNetwork is the placeholder for the network of a container without --network.
const defaultNetwork = "default"

// addAttachments parses --network and the options of the first network. A single network without
// options becomes the network mode.
func (o *options) addAttachments(cfg *containerv1.NetworkConfig) error {
	var all []networkspec.Attachment
	seen := map[string]bool{}
	for _, spec := range o.networks {
		a, err := networkspec.Parse(spec)
		if err != nil {
			return err
		}
		if seen[a.Network] {
			return fault.Invalidf("--network "+spec, "network", "network %q is specified multiple times", a.Network)
		}
		seen[a.Network] = true
		all = append(all, a)
	}

	named := len(all) > 0
	if !named {
		all = []networkspec.Attachment{{Network: defaultNetwork}}
	}

	if err := o.applyToFirstNetwork(&all[0]); err != nil {
		return err
	}
	if len(all) == 1 && all[0].IsBare() {
		if named {
			cfg.Mode = all[0].Network
		}
		return nil
	}

	for _, a := range all {
		cfg.Networks = append(cfg.Networks,
			&containerv1.NetworkAttachment{Network: a.Network, Ipv4Address: a.IPv4, Ipv6Address: a.IPv6,
				MacAddress: a.MAC, Aliases: a.Aliases, GatewayPriority: a.Priority, InterfaceName: a.Interface,
				LinkLocalAddresses: a.LinkLocal, Sysctls: a.Sysctls, AllowedAddresses: a.Allowed})
	}

	return nil
}

// applyToFirstNetwork applies --ip, --ip6, --mac-address, --network-alias and --link-local-ip.
func (o *options) applyToFirstNetwork(a *networkspec.Attachment) (err error) {
	a.Aliases = append(a.Aliases, o.aliases...)
	for _, text := range o.linkLocal {
		if err := a.AddLinkLocal("--link-local-ip "+text, text); err != nil {
			return err
		}
	}

	for _, f := range []struct {
		flag, value string
		to          *string
		read        func(subject, value string) (string, error)
	}{
		{"ip", o.ip, &a.IPv4, func(subject, v string) (string,
			error) {
			return networkspec.Address(subject, "ip", v, netip.Addr.Is4)
		}},
		{"ip6", o.ip6, &a.IPv6,
			func(subject, v string) (string, error) { return networkspec.Address(subject, "ip6", v, netip.Addr.Is6) }},
		{"mac-address", o.mac, &a.MAC, networkspec.MAC},
	} {
		if f.value == "" {
			continue
		}
		subject := "--" + f.flag + " " + f.value
		if *f.to != "" {
			return fault.Invalidf(subject, f.flag, "conflicting options: --%s is also given with --network", f.flag)
		}
		if *f.to, err = f.read(subject, f.value); err != nil {
			return err
		}
	}

	return nil
}
