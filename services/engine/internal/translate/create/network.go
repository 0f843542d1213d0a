package create

import (
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/network"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/proto/port/portpb"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/endpoints"
)

// network returns the network configuration, and warnings.
func (b *Body) network(v apiversion.Version) (*containerv1.NetworkConfig, []string, error) {
	h := &b.HostConfig
	extra, err := parseLabels(b.Labels)
	if err != nil {
		return nil, nil, err
	}
	ports, warnings, err := b.ports(extra)
	if err != nil {
		return nil, nil, err
	}
	out := &containerv1.NetworkConfig{Mode: string(h.NetworkMode), Publish: portpb.MappingsToProto(ports),
		PublishAll: h.PublishAllPorts, Links: endpoints.LinksToProto(h.Links), KeepNetns: extra.keepNetns,
		MaxConnections: extra.limits.Connections, UnlimitedConnections: extra.limits.AnyConnections,
		Packets:          packetsToProto(extra.limits.Packets),
		PublishAddresses: portpb.AddressesToProto(extra.addresses)}
	exposed, err := b.exposed()
	if err != nil {
		return nil, nil, err
	}
	out.Expose = portpb.ExposedPortsToProto(exposed)
	if b.NetworkDisabled {
		out.Mode = "none"
	}
	return out, warnings, b.attach(out, v)
}

// attach adds the requested endpoints.
func (b *Body) attach(out *containerv1.NetworkConfig, v apiversion.Version) error {
	names := b.networks()
	if len(names) > 1 && v.Before(44) {
		return httpapi.Errorf(http.StatusBadRequest, "Container cannot be connected to network endpoints: %s",
			strings.Join(slices.Sorted(slices.Values(names)), ", "))
	}

	mac, err := b.containerMAC(v)
	if err != nil {
		return err
	}
	for _, name := range names {
		settings := b.NetworkingConfig.EndpointsConfig.Of[name]
		a, err := endpoints.ToProto(networkName(name), settings)
		if err != nil {
			return err
		}
		if mac != "" && isMode(name, string(b.HostConfig.NetworkMode)) {
			if a.GetMacAddress() != "" && a.GetMacAddress() != mac {
				return httpapi.Errorf(http.StatusBadRequest,
					"the container-wide MAC address must match the endpoint-specific MAC address for the main "+
						"network, "+
						"or be left empty")
			}
			a.MacAddress = mac
		}
		out.Networks = append(out.Networks, a)
	}

	if private(out.Mode) {
		return b.onlyPlain(out)
	}
	if len(out.Networks) > 0 {
		out.Mode = ""
	} else if mac != "" {
		out.Networks = []*containerv1.NetworkAttachment{{Network: networkName(out.Mode), MacAddress: mac}}
		out.Mode = ""
	}
	return nil
}

// private reports whether a mode has no endpoints.
func private(mode string) bool {
	return mode == "host" || mode == "none" || strings.HasPrefix(mode, "container:")
}

// onlyPlain removes the entry of a mode without endpoints, which clients send without settings.
func (b *Body) onlyPlain(out *containerv1.NetworkConfig) error {
	for _, a := range out.Networks {
		s := b.NetworkingConfig.EndpointsConfig.Of[a.GetNetwork()]
		if a.GetNetwork() != out.Mode || s != nil && (s.IPAMConfig != nil || len(s.Aliases) > 0) {
			return httpapi.Errorf(http.StatusBadRequest, "conflicting options: cannot attach both network %s and %s",
				a.GetNetwork(), out.Mode)
		}
	}
	out.Networks = nil
	return nil
}

// networks returns the networks of the requested endpoints: that of the network mode first, then the
// others as in the document.
func (b *Body) networks() []string {
	e, mode := b.NetworkingConfig.EndpointsConfig, string(b.HostConfig.NetworkMode)
	order := slices.DeleteFunc(slices.Clone(e.Order), func(name string) bool { return !isKey(e.Of, name) })
	slices.SortStableFunc(order, func(x, y string) int {
		switch first, second := isMode(x, mode), isMode(y, mode); {
		case first && !second:
			return -1
		case second && !first:
			return 1
		}
		return 0
	})
	return slices.Compact(order)
}

func isKey(m map[string]*network.EndpointSettings, name string) bool {
	return slices.Contains(slices.Collect(maps.Keys(m)), name)
}

// isMode reports whether a network is the one of a network mode. The default network has two names.
func isMode(name, mode string) bool { return networkName(name) == networkName(mode) }

// networkName returns the name of a network. Empty and "default" mean the default network.
func networkName(mode string) string {
	if mode == "" || mode == "default" {
		return "bridge"
	}
	return mode
}

// containerMAC returns the MAC address that is not part of an endpoint, which version 1.52 removed.
func (b *Body) containerMAC(v apiversion.Version) (string, error) {
	if b.MacAddress == "" || v.AtLeast(52) || private(string(b.HostConfig.NetworkMode)) {
		return "", nil
	}
	mac, err := net.ParseMAC(b.MacAddress)
	if err != nil {
		return "", httpapi.Errorf(http.StatusBadRequest, "invalid MAC address: %.100s", b.MacAddress)
	}
	return mac.String(), nil
}
