package inspect

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/network"

	"github.com/fairlead/fairlead/proto/egress"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/proto/port/portpb"
	"github.com/fairlead/fairlead/services/engine/internal/translate/create"
	"github.com/fairlead/fairlead/services/engine/internal/translate/state"
)

// Bound is a port of a container, with the host port that is published for it.
type Bound struct {
	Port   network.Port
	HostIP netip.Addr // zero: the port is exposed only
	Host   uint16     // 0: direct access to the address of the container
}

// BoundPorts returns the ports of a running container, sorted by container port. Docker has no ranges:
// there is one element for each port.
func BoundPorts(c *containerv1.Container) (all []Bound) {
	if !state.HasProcess(c) {
		return nil
	}
	bindings, err := portpb.BindingsFromProto(c.GetBindings())
	if err != nil {
		return nil // the supervisor sends valid ones
	}
	port.Sort(bindings)
	published := map[network.Port]bool{}
	for _, b := range bindings {
		if b.IsAddress() {
			continue
		}
		for i := range b.Container.Len() {
			p, _ := network.PortFrom(b.Container.First+uint16(i), network.IPProtocol(b.Protocol))
			bound := Bound{Port: p, HostIP: b.HostIP}
			if !b.Host.IsZero() {
				bound.Host = b.Host.First + uint16(i)
			}
			published[p] = true
			all = append(all, bound)
		}
	}
	for p := range exposed(c.GetExposed()) {
		if !published[p] {
			all = append(all, Bound{Port: p})
		}
	}
	slices.SortStableFunc(all, func(a, b Bound) int {
		if a.Port.Num() != b.Port.Num() {
			return int(a.Port.Num()) - int(b.Port.Num())
		}
		return strings.Compare(string(a.Port.Proto()), string(b.Port.Proto()))
	})
	return all
}

// Ports returns the ports of a running container with their bindings; nil for a port that is exposed
// only.
func Ports(c *containerv1.Container) network.PortMap {
	out := network.PortMap{}
	for _, b := range BoundPorts(c) {
		if !b.HostIP.IsValid() {
			out[b.Port] = nil
			continue
		}
		binding := network.PortBinding{HostIP: b.HostIP}
		if b.Host != 0 {
			binding.HostPort = strconv.Itoa(int(b.Host))
		}
		out[b.Port] = append(out[b.Port], binding)
	}
	return out
}

// exposed returns exposed ports; nil without any.
func exposed(in []*containerv1.ExposedPort) network.PortSet {
	all, err := portpb.ExposedPortsFromProto(in)
	if err != nil || len(all) == 0 {
		return nil
	}
	out := network.PortSet{}
	for _, e := range all {
		for i := range e.Ports.Len() {
			if p, ok := network.PortFrom(e.Ports.First+uint16(i), network.IPProtocol(e.Protocol)); ok {
				out[p] = struct{}{}
			}
		}
	}
	return out
}

// requestedPorts returns the port mappings of the configuration.
func requestedPorts(net *containerv1.NetworkConfig) network.PortMap {
	out := network.PortMap{}
	mappings, err := portpb.MappingsFromProto(net.GetPublish())
	if err != nil {
		return out // the supervisor sends valid ones
	}
	for _, m := range mappings {
		for i := range m.Container.Len() {
			p, _ := network.PortFrom(m.Container.First+uint16(i), network.IPProtocol(m.Protocol))
			binding := network.PortBinding{HostIP: m.HostIP}
			switch {
			case m.Host.IsZero():
			case m.Container.Len() == 1 && m.Host.Len() > 1: // any of a range
				binding.HostPort = m.Host.String()
			default:
				binding.HostPort = strconv.Itoa(int(m.Host.First) + i)
			}
			out[p] = append(out[p], binding)
		}
	}
	return out
}

// labels returns the labels, with those for options that Docker has no field for.
func labels(cfg *containerv1.ContainerConfig) map[string]string {
	out := map[string]string{}
	net := cfg.GetNetwork()
	if mappings, err := portpb.MappingsFromProto(net.GetPublish()); err == nil {
		for _, m := range mappings {
			if m.Sources != "" {
				out[create.LabelSources+"."+m.Container.String()+"/"+string(m.Protocol)] = string(m.Sources)
			}
		}
	}
	if all, err := portpb.AddressesFromProto(net.GetPublishAddresses()); err == nil && len(all) > 0 {
		var texts []string
		for _, a := range all {
			texts = append(texts, a.String())
		}
		out[create.LabelAddresses] = strings.Join(texts, " ")
	}
	if net != nil && net.KeepNetns != nil && !net.GetKeepNetns() {
		out[create.LabelKeepNetns] = "false"
	}
	if n := net.GetMaxConnections(); n > 0 || net.GetUnlimitedConnections() {
		out[create.LabelMaxConnections] = strconv.FormatUint(uint64(n), 10)
	}
	if p := net.GetPackets(); p != nil {
		out[create.LabelPackets] = egress.Packets{In: p.GetIn(), Out: p.GetOut(),
			None: p.GetIn() == 0 && p.GetOut() == 0}.String()
	}
	maps.Copy(out, cfg.GetLabels())
	if _, ok := out[create.LabelSources]; ok { // it stands for all ports
		maps.DeleteFunc(out, func(key, _ string) bool {
			_, given := cfg.GetLabels()[key]
			return strings.HasPrefix(key, create.LabelSources+".") && !given
		})
	}
	return out
}
