package container_test

import (
	"net/netip"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

func TestNetworkErrorsNameField(t *testing.T) {
	const alone = "links require a user-defined network; connect both containers to a network created with " +
		"'fairlead network create', which resolves container names"
	link := []container.Link{{Container: "db", Alias: "store"}}
	user := []container.Attachment{{Network: "n1"}}
	for name, c := range map[string]struct {
		n           container.Network
		field, want string // empty: valid
	}{
		"link on bridge": {container.Network{Mode: "bridge", Links: link}, "link", alone},
		"link on the attachment of bridge": {container.Network{Attachments: []container.Attachment{{Network: "bridge",
			Links: link}}}, "link", alone},
		"link": {container.Network{Attachments: user, Links: link}, "", ""},
		"link without container": {container.Network{Attachments: user, Links: []container.Link{{Alias: "a"}}}, "link",
			"bad format for links: :a"},
		"link alias": {container.Network{Attachments: []container.Attachment{{Network: "n1",
			Links: []container.Link{{Container: "db", Alias: "a/b"}}}}}, "link", "bad format for links: db:a/b"},
		"egress": {container.Network{Egress: []string{"a.test:443"}}, "", ""},
		"egress syntax": {container.Network{Egress: []string{"a.test:0"}}, "egress", `egress policy is not valid: ` +
			`rule "a.test:0": invalid port "0", must be a port from 1 to 65535 or a range such as 8000-8010; ` +
			"see fairlead policy --help"},
		"egress on host": {container.Network{Mode: "host", Egress: []string{"lan"}}, "egress",
			"egress policy cannot be enforced on network host; use a bridge network"},
		"egress on none": {container.Network{Mode: "none", Egress: []string{"all"}}, "egress",
			"egress policy cannot be enforced on network none; use a bridge network"},
		"egress of joined": {container.Network{Mode: "container:web", Egress: []string{"all"}}, "egress",
			"cannot have an egress policy, as it shares the network of container web; set --egress on that container"},
		"loopback address": {container.Network{Addresses: []port.Address{{HostIP: netip.MustParseAddr("127.0.0.1")}}},
			"publish_address", "address 127.0.0.1 cannot be published; " +
				"use an external address of the host, or publish ports with -p"},
		"expose": {container.Network{Expose: []port.Exposed{{Protocol: "tcp"}}}, "expose",
			"invalid range format for --expose: 0"},
		"publish on host": {container.Network{Mode: "host", PublishAll: true}, "publish", "ports cannot be published " +
			"with --network host; omit -p, as the container uses the host's ports directly, " +
			"or add --publish-ignored=warn"},
	} {
		cfg := container.Config{Name: "job", Image: "x", Network: c.n.Normalized()}
		err := cfg.Validate()
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: got %v", name, err)
			}
			continue
		}
		if f, ok := err.(*fault.Fault); !ok || f.Field != c.field || f.Error() != "container job: "+c.want {
			t.Errorf("%s:\ngot  %v\nwant container job: %s", name, err, c.want)
		}
	}
}

func TestSysctlErrors(t *testing.T) {
	for name, want := range map[string]string{
		"kernel.msgmax": "", "net.ipv4.ip_forward": "", "fs.mqueue.queues_max": "", "net.ipv4.conf.all.rp_filter": "",
		"net.ipv4.conf.lo.rp_filter": "", "kernel.domainname": "",
		"Net.ipv4":        `"Net.ipv4" is not a valid kernel parameter name`,
		"net/ipv4/x":      `"net/ipv4/x" is not a valid kernel parameter name`,
		"net..x":          `"net..x" is not a valid kernel parameter name`,
		"kernel.hostname": `sysctl "kernel.hostname" is not in a separate kernel namespace; set it on the host`,
		"net.ipv4.conf.eth0.rp_filter": `interface specific sysctl setting "net.ipv4.conf.eth0.rp_filter" must be ` +
			"supplied using driver option 'com.docker.network.endpoint.sysctls'; --network 'name=NETWORK," +
			"driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.rp_filter=1'",
	} {
		err := (&container.Config{Name: "job", Image: "x", Sysctls: map[string]string{name: "1"}}).Validate()
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != "container job: "+want) {
			t.Errorf("got  %v\nwant container job: %s", err, want)
		}
	}
	for _, value := range []string{"", "1\n2", "a\x00"} {
		err := (&container.Config{Name: "job", Image: "x",
			Sysctls: map[string]string{"kernel.msgmax": value}}).Validate()
		if want := `container job: sysctl "kernel.msgmax" must have a value of one line`; err == nil ||
			err.Error() != want {
			t.Errorf("%q: got %v, want %s", value, err, want)
		}
	}
}

func TestPublishTargetOfEndpoints(t *testing.T) {
	binding := func(e container.Endpoint, host string) container.Endpoint {
		e.HostBinding = host
		return e
	}
	four := container.Endpoint{Bridge: "br0", IPv4: "10.0.0.2/24", IPv4Gateway: "10.0.0.1"}
	six := container.Endpoint{Bridge: "br1", IPv6: "fd00::2/64", IPv6Gateway: "fd00::1"}
	internal := container.Endpoint{Bridge: "br2", IPv4: "10.2.0.2/24", Internal: true}
	for name, c := range map[string]struct {
		endpoints []container.Endpoint
		want      container.PublishTarget
	}{
		"none":     {nil, container.PublishTarget{}},
		"internal": {[]container.Endpoint{internal}, container.PublishTarget{}},
		"macvlan":  {[]container.Endpoint{{IPv4: "10.3.0.2/24"}}, container.PublishTarget{}},
		"both": {[]container.Endpoint{internal, binding(six, "::1"), binding(four, "127.0.0.1")},
			container.PublishTarget{IPv4: "10.0.0.2", IPv6: "fd00::2", HostBinding: "127.0.0.1"}},
		"IPv6 only": {[]container.Endpoint{binding(six, "::1")},
			container.PublishTarget{IPv6: "fd00::2", HostBinding: "::1"}},
	} {
		if got := (&container.RunState{Endpoints: c.endpoints}).PublishTarget(); got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

func TestUnpublishErrorsAndAddresses(t *testing.T) {
	ip := netip.MustParseAddr("192.0.2.1")
	c := &container.Container{Config: container.Config{Name: "web", Image: "nginx", Network: container.Network{
		PublishAll: true, Publish: []port.Mapping{tcpPort("", 8080, 0, 80, 0)},
		Addresses: []port.Address{{HostIP: ip}}}}}
	for want, selection := range map[string]port.Mapping{
		"container web: 9090:80/tcp is not published; its port is published as 8080:80/tcp; unpublish that": tcpPort("",
			9090, 0, 80, 0),
		"container web: 443/tcp is not published; list published ports with 'fairlead port web'": tcpPort("",
			0, 0, 443, 0),
	} {
		if _, _, err := c.Unpublished([]port.Mapping{selection}, nil, false); !fault.Is(err, fault.NotFound) ||
			err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}

	out, _, err := c.Unpublished(nil, []netip.Addr{ip}, false)
	if err != nil || len(out.Config.Network.Addresses) != 0 || len(out.Config.Network.Publish) != 1 {
		t.Errorf("got %+v, %v", out, err)
	}
	if _, _, err := out.Unpublished(nil, []netip.Addr{ip}, false); !fault.Is(err, fault.NotFound) ||
		err.Error() != "container web: address 192.0.2.1 is not published" {
		t.Errorf("again: got %v", err)
	}
	all, left, err := c.Unpublished(nil, nil, true)
	if n := all.Config.Network; err != nil || len(left) > 0 || n.PublishAll || len(n.Publish)+len(n.Addresses) > 0 {
		t.Errorf("all: got %+v, left %v, %v", n, left, err)
	}
	if len(c.Config.Network.Addresses) != 1 || !c.Config.Network.PublishAll {
		t.Errorf("the container before is modified: %+v", c.Config.Network)
	}
}
