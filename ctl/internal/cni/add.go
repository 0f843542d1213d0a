package cni

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// Added holds the endpoint that Add created.
type Added struct {
	Endpoint *networkv1.Endpoint
	Named    bool // the resolver serves the names of the network
}

// Add attaches a namespace to the network of a configuration. It is idempotent. On failure, it removes
// what it created.
func (p *Plugin) Add(ctx context.Context, a Attachment, c Config) (Added, error) {
	if len(c.RawPrevResult) > 0 {
		return Added{}, fault.New(fault.Invalid, "CNI configuration", "has another plugin before fairlead-cni",
			fault.WithHint("make fairlead-cni the first plugin of the list: it creates the interface"))
	}
	spec, err := endpointSpec(a, c)
	if err != nil {
		return Added{}, err
	}

	existed, err := p.isAttached(ctx, a)
	if err != nil {
		return Added{}, err
	}
	sb, err := p.attach(ctx, a, spec)
	if err != nil {
		return Added{}, err
	}
	e, ok := endpointOf(sb, a.Interface)
	if !ok {
		return Added{}, fault.New(fault.Internal, "container "+a.ContainerID, "netagent has created no "+a.Interface)
	}

	published := make(chan error, 1)
	go func() { published <- p.publish(ctx, a, c, e) }()
	named, err := p.register(ctx, a, c, sb)
	if err = errors.Join(err, <-published); err != nil {
		if existed { // by an earlier ADD: its container may run
			return Added{}, err
		}
		// The runtime calls DEL too, but must not have to.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		return Added{}, errors.Join(err, p.Delete(ctx, a))
	}
	return Added{e, named}, nil
}

// undoTimeout limits the removal after a failure, also if the command has run out of time.
const undoTimeout = 30 * time.Second

// isAttached reports whether the interface exists already.
func (p *Plugin) isAttached(ctx context.Context, a Attachment) (bool, error) {
	have, err := p.Sandboxes.GetSandbox(ctx, &networkv1.GetSandboxRequest{Owner: Owner(a.ContainerID)})
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, ok := endpointOf(have.GetSandbox(), a.Interface)
	return ok, nil
}

// attach creates the sandbox of a container, or connects it to one more network.
func (p *Plugin) attach(ctx context.Context, a Attachment, spec *networkv1.EndpointSpec) (*networkv1.Sandbox, error) {
	created, err := p.Sandboxes.CreateSandbox(ctx, &networkv1.CreateSandboxRequest{Owner: Owner(a.ContainerID),
		OwnerName: a.displayName(), Mode: networkv1.SandboxMode_SANDBOX_MODE_EXTERNAL, NetnsPath: a.Namespace,
		Endpoints: []*networkv1.EndpointSpec{spec}})
	if !fault.Is(err, fault.Exists) {
		return created.GetSandbox(), err
	}

	have, gerr := p.Sandboxes.GetSandbox(ctx, &networkv1.GetSandboxRequest{Owner: Owner(a.ContainerID)})
	if fault.Is(gerr, fault.NotFound) {
		return nil, err // an address is in use
	}
	if gerr != nil {
		return nil, errors.Join(err, gerr)
	}
	sb := have.GetSandbox()
	had, ok := endpointOf(sb, a.Interface)
	if sb.GetExternalPath() != a.Namespace || ok && len(sb.GetEndpoints()) == 1 {
		return nil, fault.New(fault.Exists, "container "+a.ContainerID, "is already attached with "+
			strings.Join(interfacesOf(sb), ", ")+" in "+sb.GetExternalPath(),
			fault.WithHint("call DEL first"))
	}

	// The first network has the default route, as with other plugins.
	spec.GatewayPriority = -1
	if ok {
		spec.GatewayPriority = had.GetGatewayPriority()
	}
	connected, err := p.Sandboxes.ConnectEndpoint(ctx,
		&networkv1.ConnectEndpointRequest{Owner: Owner(a.ContainerID), Endpoint: spec})
	return connected.GetSandbox(), err
}

// interfacesOf returns the names of all interfaces.
func interfacesOf(sb *networkv1.Sandbox) []string {
	var names []string
	for _, e := range sb.GetEndpoints() {
		names = append(names, e.GetInterfaceName())
	}
	return names
}

// endpointSpec returns the endpoint that a configuration asks for.
func endpointSpec(a Attachment, c Config) (*networkv1.EndpointSpec, error) {
	spec := &networkv1.EndpointSpec{Network: c.Network, InterfaceName: a.Interface, MacAddress: c.Runtime.MAC,
		Labels: map[string]string{labelNetwork: c.Name}}
	if mac := a.Args["MAC"]; spec.MacAddress == "" {
		spec.MacAddress = mac
	}

	addresses := c.Runtime.IPs
	if ip := a.Args["IP"]; len(addresses) == 0 && ip != "" {
		addresses = strings.Split(ip, ",")
	}
	for _, text := range addresses {
		ip, err := parseIP(text)
		if err != nil {
			return nil, err
		}
		to := &spec.Ipv4Address
		if ip.Is6() {
			to = &spec.Ipv6Address
		}
		if *to != "" {
			return nil, fault.Invalidf("CNI configuration", "ips", "several addresses of one family: %s and %s", *to,
				ip)
		}
		*to = ip.String()
	}

	if names := namesOf(a, c); len(names) > 0 {
		spec.Labels[labelNames] = strings.Join(names, ",")
	}
	return spec, nil
}

// parseIP parses an address with or without prefix length.
func parseIP(text string) (netip.Addr, error) {
	bare, _, _ := strings.Cut(text, "/")
	ip, err := netip.ParseAddr(bare)
	if err != nil {
		return ip, fault.Invalidf("CNI configuration", "ips", "%q is not an IP address", text)
	}
	return ip, nil
}

// namesOf returns the names of a container on the network of a configuration.
func namesOf(a Attachment, c Config) []string {
	if !c.usesNames() {
		return nil
	}
	var names []string
	for _, name := range append([]string{a.Args["K8S_POD_NAME"]}, c.Runtime.Aliases[c.Name]...) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	const short = 12
	if id := a.ContainerID; len(id) >= short {
		names = append(names, id[:short])
	}
	return names
}

// publish publishes the ports of a configuration at an endpoint. Some runtimes pass the same ports for
// each network of a container: they are published at the first.
func (p *Plugin) publish(ctx context.Context, a Attachment, c Config, e *networkv1.Endpoint) error {
	mappings := c.mappings()
	if len(mappings) == 0 {
		return nil
	}
	_, err := p.Publications.Publish(ctx, &natv1.PublishRequest{Owner: Owner(a.ContainerID),
		OwnerName: a.displayName(), Ipv4Address: bare(e.GetIpv4Address()), Ipv6Address: bare(e.GetIpv6Address()),
		Mappings: mappings})
	if !fault.Is(err, fault.Exists) {
		return err
	}

	have, lerr := p.publication(ctx, Owner(a.ContainerID))
	if lerr != nil {
		return errors.Join(err, lerr)
	}
	if missing(have, mappings) == nil {
		return nil
	}
	return fault.New(fault.Exists, "container "+a.ContainerID, "other ports are published for another of its networks",
		fault.WithHint("enable portMappings for one network only"))
}

// publication returns the ports of an owner; nil if there are none.
func (p *Plugin) publication(ctx context.Context, owner string) ([]*natv1.PortBinding, error) {
	all, err := p.Publications.ListPublications(ctx, &natv1.ListPublicationsRequest{})
	for _, pub := range all.GetPublications() {
		if pub.GetOwner() == owner {
			return pub.GetBindings(), err
		}
	}
	return nil, err
}

// missing returns a mapping without a binding; nil if all are in effect.
func missing(have []*natv1.PortBinding, mappings []*natv1.PortMapping) *natv1.PortMapping {
	for _, m := range mappings {
		if !slices.ContainsFunc(have, func(b *natv1.PortBinding) bool { return covers(b, m) }) {
			return m
		}
	}
	return nil
}

// covers reports whether a binding, which can be a range, has the ports of a mapping.
func covers(b *natv1.PortBinding, m *natv1.PortMapping) bool {
	last := max(b.GetHostPort(), b.GetHostPortEnd())
	return b.GetProtocol() == m.GetProtocol() && b.GetHostPort() <= m.GetHostPort() && m.GetHostPort() <= last &&
		b.GetContainerPort()+m.GetHostPort()-b.GetHostPort() == m.GetContainerPort()
}

// bare returns an address without its prefix length.
func bare(prefix string) string {
	address, _, _ := strings.Cut(prefix, "/")
	return address
}

// register registers the names of a container on all its networks that have names. It reports whether
// there are any.
func (p *Plugin) register(ctx context.Context, a Attachment, c Config, sb *networkv1.Sandbox) (bool, error) {
	networks := registrations(sb)
	if len(networks) == 0 {
		return false, nil
	}
	dns := c.dns()
	req := &dnsv1.RegisterRequest{Owner: Owner(a.ContainerID), FileSource: dnsv1.FileSource_FILE_SOURCE_RESOLVER,
		Addresses: addressesOf(sb), Networks: networks, Servers: dns.Nameservers, Search: dns.Search,
		Options: dns.Options}
	if len(sb.GetEndpoints()) > 1 {
		_, err := p.Names.Update(ctx, &dnsv1.UpdateRequest{Owner: req.Owner, Addresses: req.Addresses,
			Networks: networks})
		if !fault.Is(err, fault.NotFound) {
			return true, err
		}
	}
	_, err := p.Names.Register(ctx, req)
	return true, err
}

// registrations returns the names of a container, which the labels of its endpoints hold.
func registrations(sb *networkv1.Sandbox) []*dnsv1.NetworkRegistration {
	var out []*dnsv1.NetworkRegistration
	for _, e := range sb.GetEndpoints() {
		names, named := e.GetLabels()[labelNames]
		if !named || e.GetNetworkName() == defaultBridge {
			continue
		}
		out = append(out, &dnsv1.NetworkRegistration{NetworkId: e.GetNetworkId(), NetworkName: e.GetNetworkName(),
			Addresses: addressesOf(&networkv1.Sandbox{Endpoints: []*networkv1.Endpoint{e}}),
			Names:     strings.Split(names, ","), Internal: e.GetInternal(), Servers: e.GetDnsServers(),
			Search: e.GetDnsSearch()})
	}
	return out
}

// addressesOf returns the addresses of a sandbox without prefix lengths.
func addressesOf(sb *networkv1.Sandbox) []string {
	var out []string
	for _, e := range sb.GetEndpoints() {
		for _, prefix := range []string{e.GetIpv4Address(), e.GetIpv6Address()} {
			if prefix != "" {
				out = append(out, bare(prefix))
			}
		}
	}
	return out
}
