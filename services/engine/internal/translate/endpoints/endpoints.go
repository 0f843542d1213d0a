// Package endpoints translates the settings of endpoints, which create and connect share. It performs no
// I/O.
package endpoints

import (
	"errors"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/network"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Driver options of endpoints.
const (
	OptionName    = "com.docker.network.endpoint.ifname"
	OptionSysctls = "com.docker.network.endpoint.sysctls"
	// OptionAllowed has additional source subnets that the container can send from.
	OptionAllowed = "allowed-addresses"
)

// ToProto converts the settings of an endpoint, which can be nil.
func ToProto(name string, s *network.EndpointSettings) (*containerv1.NetworkAttachment, error) {
	out := &containerv1.NetworkAttachment{Network: name}
	if s == nil {
		return out, nil
	}
	if s.GwPriority > math.MaxInt32 || s.GwPriority < math.MinInt32 {
		return nil, httpapi.Errorf(http.StatusBadRequest, "network %s: gateway priority %d is out of range", name,
			s.GwPriority)
	}
	out.Aliases, out.GatewayPriority, out.Links = s.Aliases, int32(s.GwPriority), LinksToProto(s.Links)
	if len(s.MacAddress) > 0 {
		out.MacAddress = s.MacAddress.String()
	}
	if c := s.IPAMConfig; c != nil {
		if c.IPv4Address.IsValid() {
			out.Ipv4Address = c.IPv4Address.String()
		}
		if c.IPv6Address.IsValid() {
			out.Ipv6Address = c.IPv6Address.String()
		}
		for _, a := range c.LinkLocalIPs {
			out.LinkLocalAddresses = append(out.LinkLocalAddresses, a.String())
		}
	}
	return out, setOptions(out, s.DriverOpts)
}

// setOptions sets the driver options.
func setOptions(out *containerv1.NetworkAttachment, options map[string]string) error {
	var problems error
	for _, key := range slices.Sorted(maps.Keys(options)) {
		value := options[key]
		switch key {
		case OptionName:
			out.InterfaceName = value
		case OptionSysctls:
			out.Sysctls = list(value)
		case OptionAllowed:
			out.AllowedAddresses = list(value)
		default:
			problems = errors.Join(problems, httpapi.Errorf(http.StatusBadRequest,
				"network %s: driver option %.100s is not supported; use %s, %s or %s", out.GetNetwork(), key,
				OptionName,
				OptionSysctls, OptionAllowed))
		}
	}
	return problems
}

// list splits a value at its commas.
func list(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' })
}

// LinksToProto converts links, each CONTAINER[:ALIAS] or, as in inspect, /CONTAINER:/SELF/ALIAS.
func LinksToProto(links []string) (out []*containerv1.Link) {
	for _, text := range links {
		container, alias, _ := strings.Cut(text, ":")
		if strings.HasPrefix(alias, "/") {
			alias = alias[strings.LastIndexByte(alias, '/')+1:]
		}
		out = append(out, &containerv1.Link{Container: strings.TrimPrefix(container, "/"), Alias: alias})
	}
	return out
}
