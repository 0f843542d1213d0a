package container_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

func TestNormalizedSetsModeAndAttachments(t *testing.T) {
	at := func(names ...string) []container.Attachment {
		var out []container.Attachment
		for _, n := range names {
			out = append(out, container.Attachment{Network: n})
		}
		return out
	}

	for name, c := range map[string]struct{ in, want container.Network }{
		"nothing": {container.Network{}, container.Network{Mode: "bridge", Attachments: at("bridge")}},
		"default": {container.Network{Mode: "default"},
			container.Network{Mode: "bridge", Attachments: at("bridge")}},
		"a network": {container.Network{Mode: "n1"}, container.Network{Mode: "n1", Attachments: at("n1")}},
		"attachments": {container.Network{Attachments: at("n2", "default")},
			container.Network{Mode: "n2", Attachments: at("n2", "bridge")}},
		"both": {container.Network{Mode: "n2", Attachments: at("n2", "n1")},
			container.Network{Mode: "n2", Attachments: at("n2", "n1")}},
		"none":              {container.Network{Mode: "none"}, container.Network{Mode: "none"}},
		"host as a network": {container.Network{Attachments: at("host")}, container.Network{Mode: "host"}},
		"a join as a network": {container.Network{Attachments: at("container:x")},
			container.Network{Mode: "container:x"}},
		"host and networks": {container.Network{Attachments: at("host", "n1")},
			container.Network{Mode: "host", Attachments: at("host", "n1")}},
	} {
		if d := cmp.Diff(c.want, c.in.Normalized(), cmpopts.EquateEmpty(),
			cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
			t.Errorf("%s: want - got +:\n%s", name, d)
		}
	}
}

func TestConflictingNetworkOptionsRejected(t *testing.T) {
	ip := netip.MustParseAddr("10.0.0.5")
	join := func(c *container.Config) { c.Network = container.Network{Mode: "container:x"} }
	attach := func(all ...container.Attachment) func(*container.Config) {
		return func(c *container.Config) { c.Network = container.Network{Attachments: all} }
	}

	for _, c := range []struct {
		change []func(*container.Config)
		want   string
	}{
		{[]func(*container.Config){join, func(c *container.Config) { c.DNS.Hostname = "h" }},
			"conflicting options: hostname and the network mode"},
		{[]func(*container.Config){join, func(c *container.Config) { c.Network.PublishAll = true }},
			"conflicting options: port publishing and the container type network mode"},
		{[]func(*container.Config){join, func(c *container.Config) {
			c.Network.Expose = []port.Exposed{{Protocol: port.TCP, Ports: port.Single(80)}}
		}}, "conflicting options: port exposing and the container type network mode"},
		{[]func(*container.Config){join, func(c *container.Config) { c.DNS.Servers = []string{"1.1.1.1"} }},
			"conflicting options: dns and the network mode"},
		{[]func(*container.Config){join, func(c *container.Config) { c.DNS.ExtraHosts = []string{"a:1.1.1.1"} }},
			"conflicting options: custom host-to-IP mapping and the network mode"},
		{[]func(*container.Config){func(c *container.Config) { c.Network.Mode = "container:" }},
			"invalid container format container:<name|id>"},
		{[]func(*container.Config){attach(container.Attachment{Network: "container:x"},
			container.Attachment{Network: "n1"})}, "cannot be combined with other networks"},
		{[]func(*container.Config){attach(container.Attachment{Network: "n1"},
			container.Attachment{Network: "container:x"})}, "cannot attach both"},
		{[]func(*container.Config){attach(container.Attachment{Network: "host"}, container.Attachment{Network: "n1"})},
			"cannot attach both user-defined and non-user-defined network-modes"},
		{[]func(*container.Config){attach(container.Attachment{Network: "none", IPv4: ip})},
			"invalid config for network none: invalid endpoint settings: user-specified IP address"},
		{[]func(*container.Config){attach(container.Attachment{Network: "host", MAC: "02:00:00:00:00:01"})},
			"conflicting options: mac-address and the network mode"},
		{[]func(*container.Config){attach(container.Attachment{Network: "host", Priority: 1})},
			"network host does not support options"},
		{[]func(*container.Config){attach(container.Attachment{Network: "container:x", MAC: "02:00:00:00:00:01"})},
			"conflicting options: mac-address and the network mode"},
		{[]func(*container.Config){attach(container.Attachment{Network: "n1", LinkLocal: []netip.Addr{ip}})},
			"invalid link-local IP address: 10.0.0.5"},
		{[]func(*container.Config){attach(container.Attachment{Network: "n1",
			Sysctls: []string{"net.ipv4.conf.IFNAME.x"}})}, "unrecognised network interface sysctl"},
		{[]func(*container.Config){attach(container.Attachment{Network: "n1",
			Sysctls: []string{"net.ipv4.conf.IFNAME./../x=1"}})}, "unrecognised network interface sysctl"},
		{[]func(*container.Config){join,
			func(c *container.Config) { c.Sysctls = map[string]string{"net.core.somaxconn": "1"} }},
			`sysctl "net.core.somaxconn" and the network mode`},
		{[]func(*container.Config){
			func(c *container.Config) { c.Sysctls = map[string]string{"net.ipv6.neigh.eth0.x": "1"} }},
			"driver-opt=com.docker.network.endpoint.sysctls=net.ipv6.neigh.IFNAME.x=1"},
		{[]func(*container.Config){func(c *container.Config) { c.Sysctls = map[string]string{"kernel.panic": "1"} }},
			`sysctl "kernel.panic" is not in a separate kernel namespace`},
		{[]func(*container.Config){func(c *container.Config) {
			c.UTS, c.Sysctls = container.UTSHost, map[string]string{"kernel.domainname": "x"}
		}}, "not allowed in host UTS namespace"},
		{[]func(*container.Config){attach(container.Attachment{Network: "n1"}, container.Attachment{Network: "n1"})},
			`network "n1" is specified multiple times`},
		{[]func(*container.Config){attach(container.Attachment{Network: "bridge", IPv4: ip})},
			"user-specified IP address is supported on user-defined networks only"},
		{[]func(*container.Config){attach(container.Attachment{Network: "bridge", Aliases: []string{"a"}})},
			"network-scoped aliases are only supported for user-defined networks"},
		{[]func(*container.Config){attach(container.Attachment{Network: "n1", Aliases: []string{"a b"}})},
			"is not a valid name"},
		{[]func(*container.Config){attach(container.Attachment{Network: "n1", MAC: "xx"})},
			"xx is not a valid mac address"},
		{[]func(*container.Config){attach(container.Attachment{Network: "n1", IPv6: ip})}, "invalid IPv6 address"},
		{[]func(*container.Config){attach(container.Attachment{Network: "n1", IPv4: netip.MustParseAddr("::1")})},
			"invalid IPv4 address"},
	} {
		cfg := container.Config{Image: "nginx"}
		for _, change := range c.change {
			change(&cfg)
		}
		cfg.Network = cfg.Network.Normalized()
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

func TestPublishEndpointsPreferDefaultRoute(t *testing.T) {
	l := container.RunState{Endpoints: []container.Endpoint{{IPv4: "10.0.0.2/24"},
		{Bridge: "br0", IPv4: "10.1.0.2/24", IPv4Gateway: "10.1.0.1", IPv6: "fd00::2/64"},
		{Bridge: "br0", IPv6: "fd01::2/64", IPv6Gateway: "fd01::1"}}}
	four, six := l.PublishEndpoints()
	if four != &l.Endpoints[1] || six != &l.Endpoints[2] {
		t.Errorf("got %+v and %+v", four, six)
	}

	inside := container.RunState{Endpoints: []container.Endpoint{{}, {Bridge: "br0", IPv4: "10.0.0.2/24"},
		{Bridge: "br0", IPv4: "10.1.0.2/24"}}}
	if four, six := inside.PublishEndpoints(); four != &inside.Endpoints[1] || six != nil {
		t.Errorf("without default route: got %+v and %+v", four, six)
	}

	inside.Endpoints[1].Internal = true
	if four, six := inside.PublishEndpoints(); four != &inside.Endpoints[2] || six != nil {
		t.Errorf("with an internal network: got %+v and %+v", four, six)
	}

	inside.Endpoints[2].Internal = true
	if four, six := inside.PublishEndpoints(); four != nil || six != nil {
		t.Errorf("on internal networks only: got %+v and %+v", four, six)
	}

	lan := container.RunState{Endpoints: []container.Endpoint{{IPv4: "192.168.8.9/24", IPv4Gateway: "192.168.8.1"},
		{Bridge: "br0", IPv4: "10.0.0.2/24"}}}
	if four, six := lan.PublishEndpoints(); four != &lan.Endpoints[1] || six != nil {
		t.Errorf("with a macvlan network: got %+v and %+v", four, six)
	}
}

func TestRepublishedKeepsHostPorts(t *testing.T) {
	all4, v6 := netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("fd00::2")
	c := container.Container{Live: &container.RunState{Bindings: []port.Binding{
		{Protocol: port.TCP, HostIP: all4, Host: port.Single(32768), Container: port.Single(80)},
		{Protocol: port.TCP, HostIP: netip.MustParseAddr("::"), Host: port.Single(32768), Container: port.Single(80)},
		{Protocol: port.UDP, HostIP: netip.MustParseAddr("127.0.0.1"), Host: port.Single(53),
			Container: port.Single(53)}}}}
	check := func(what string, want ...port.Mapping) {
		t.Helper()
		if d := cmp.Diff(want, c.Republished(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
			t.Errorf("%s: want - got +:\n%s", what, d)
		}
	}

	local := port.Mapping{Protocol: port.UDP, HostIP: netip.MustParseAddr("127.0.0.1"), Host: port.Single(53),
		Container: port.Single(53)}
	check("both families become one", port.Mapping{Protocol: port.TCP, Host: port.Single(32768),
		Container: port.Single(80)}, local)
	c.Config.Network.Publish = []port.Mapping{{Protocol: port.TCP, HostIP: all4, Container: port.Single(80)}}
	c.Live.Bindings = c.Live.Bindings[:1]
	check("one that was asked for stays", port.Mapping{Protocol: port.TCP, HostIP: all4, Host: port.Single(32768),
		Container: port.Single(80)})
	c.Live.Bindings = nil
	check("nothing was published", c.Config.Network.Publish...)

	asked := port.Mapping{Protocol: port.TCP, Host: port.Single(8080), Container: port.Single(80)}
	c.Config.Network.Publish = []port.Mapping{asked}
	c.Live.Bindings = []port.Binding{{Protocol: port.TCP, HostIP: all4, Host: port.Single(8080),
		Container: port.Single(80)}, {Protocol: port.TCP, HostIP: v6, ContainerIP: v6, Container: port.Single(80)}}
	check("one family is translated", asked)
	c.Live.Bindings = c.Live.Bindings[1:]
	check("none is translated", asked)
	c.Config.Network.Publish = nil
	c.Live.Bindings = []port.Binding{{Protocol: port.UDP, HostIP: v6, ContainerIP: v6, Container: span(5000, 5100)}}
	check("without a requested mapping", port.Mapping{Protocol: port.UDP, Container: span(5000, 5100)})
}
