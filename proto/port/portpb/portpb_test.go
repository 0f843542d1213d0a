package portpb_test

import (
	"math"
	"net/netip"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/proto/port/portpb"
)

const (
	tcp = natv1.Protocol_PROTOCOL_TCP
	udp = natv1.Protocol_PROTOCOL_UDP
)

// TestTextRoundTrip: what the command line parses arrives in the services unchanged.
func TestTextRoundTrip(t *testing.T) {
	for _, spec := range []string{"80/tcp", "8080:80/udp", "10.0.0.1::80/sctp", "[::1]:8000-8002:80-82/tcp",
		"90-91:92/tcp", "1-65535:1-65535/udp", "8080:80/tcp,from=10.0.0.0/8,from=fd00::/8"} {
		m, err := port.Parse(spec)
		if err != nil {
			t.Fatal(err)
		}
		got, err := portpb.MappingFromProto(portpb.MappingToProto(m))
		if err != nil || got != m || got.String() != spec {
			t.Errorf("%s: got %s, %v", spec, got, err)
		}
	}

	for _, spec := range []string{"10.0.0.1", "fd00::1,snat=false", "10.0.0.1,from=10.0.0.0/8"} {
		a, err := port.ParseAddress(spec)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := portpb.AddressFromProto(portpb.AddressToProto(a)); err != nil || got != a {
			t.Errorf("%s: got %+v, %v", spec, got, err)
		}
	}

	for _, spec := range []string{"80/tcp", "1000-2000/udp"} {
		e, err := port.ParseExposed(spec)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := portpb.ExposedFromProto(portpb.ExposedToProto(e)); err != nil || got != e {
			t.Errorf("%s: got %+v, %v", spec, got, err)
		}
	}
}

func TestInvalidMessagesRejected(t *testing.T) {
	mapping := func(m *natv1.PortMapping) error { _, err := portpb.MappingFromProto(m); return err }
	address := func(ip string, from ...string) error {
		_, err := portpb.AddressFromProto(&natv1.AddressMapping{HostIp: ip, AllowedSources: from})
		return err
	}
	exposed := func(p natv1.Protocol, first, end uint32) error {
		_, err := portpb.ExposedFromProto(&containerv1.ExposedPort{Protocol: p, Port: first, PortEnd: end})
		return err
	}
	binding := func(b *natv1.PortBinding) error { _, err := portpb.BindingFromProto(b); return err }

	const unusable = "; use an external address of the host, or publish ports with -p"
	for _, row := range []struct {
		want string
		err  error
	}{
		{"publish 0/tcp: invalid containerPort: 0",
			mapping(&natv1.PortMapping{Protocol: tcp})},
		{"publish 70000:80/tcp: invalid hostPort: 70000",
			mapping(&natv1.PortMapping{Protocol: tcp, HostPort: 70000,
				ContainerPort: 80})},
		{"publish 80-65616/tcp: invalid containerPort: 80-65616",
			mapping(&natv1.PortMapping{Protocol: tcp,
				ContainerPort: 80, ContainerPortEnd: 65616})},
		{"publish 0-8:80/tcp: invalid hostPort: 0-8",
			mapping(&natv1.PortMapping{Protocol: tcp, HostPortEnd: 8,
				ContainerPort: 80})},
		{"publish 9-8:80/tcp: invalid hostPort: 9-8",
			mapping(&natv1.PortMapping{Protocol: tcp, HostPort: 9,
				HostPortEnd: 8, ContainerPort: 80})},
		{"publish 80/PROTOCOL_UNSPECIFIED: invalid proto: PROTOCOL_UNSPECIFIED",
			mapping(&natv1.PortMapping{
				ContainerPort: 80})},
		{"publish 80/all: invalid proto: all",
			mapping(&natv1.PortMapping{Protocol: natv1.Protocol_PROTOCOL_ALL,
				ContainerPort: 80})},
		{"publish 80/9: invalid proto: 9",
			mapping(&natv1.PortMapping{Protocol: 9, ContainerPort: 80})},
		{"publish 1.2.3::80/udp: invalid IP address: 1.2.3",
			mapping(&natv1.PortMapping{Protocol: udp,
				HostIp: "1.2.3", ContainerPort: 80})},
		{"publish [fe80::1%eth0]:1:80/tcp: invalid IP address: fe80::1%eth0",
			mapping(&natv1.PortMapping{Protocol: tcp,
				HostIp: "fe80::1%eth0", HostPort: 1, ContainerPort: 80})},
		{`publish 1:80/tcp,from=lan: invalid source "lan": it should be a network such as 10.0.0.0/8, or an address`,
			mapping(
				&natv1.PortMapping{Protocol: tcp, HostPort: 1, ContainerPort: 80, AllowedSources: []string{"lan"}})},
		{"publish address: no address given",
			address("")},
		{"publish address: invalid IP address: lo",
			address("lo")},
		{"address 127.0.0.1: cannot be published" + unusable,
			address("127.0.0.1")},
		{"address ::ffff:0.0.0.0: cannot be published" + unusable,
			address("::ffff:0.0.0.0")},
		{"publish address: invalid source \"10.1.0.0/8\": it should be 10.0.0.0/8",
			address("10.0.0.1", "10.1.0.0/8")},
		{"expose 0/tcp: invalid range format for --expose: 0",
			exposed(tcp, 0, 0)},
		{"expose 9-8/tcp: invalid range format for --expose: 9-8",
			exposed(tcp, 9, 8)},
		{"expose 65536/tcp: invalid range format for --expose: 65536",
			exposed(tcp, 65536, 0)},
		{"expose 80/all: invalid proto: all",
			exposed(natv1.Protocol_PROTOCOL_ALL, 80, 0)},
		{"port binding: invalid hostPort: 65536",
			binding(&natv1.PortBinding{HostPort: 65536})},
		{"port binding: invalid hostPort: 2-1",
			binding(&natv1.PortBinding{HostPort: 2, HostPortEnd: 1})},
		{"port binding: invalid containerPort: 2-1",
			binding(&natv1.PortBinding{ContainerPort: 2,
				ContainerPortEnd: 1})},
		{"port binding: invalid containerPort: 65535",
			binding(&natv1.PortBinding{HostPort: 1, HostPortEnd: 2,
				ContainerPort: 65535})},
		{"port binding: invalid IP address: x",
			binding(&natv1.PortBinding{HostIp: "x"})},
	} {
		if !fault.Is(row.err, fault.Invalid) || row.err.Error() != row.want {
			t.Errorf("got  %v\nwant %s", row.err, row.want)
		}
	}
}

func TestBindingForms(t *testing.T) {
	v4, v6 := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")
	all4, all6 := netip.IPv4Unspecified(), netip.IPv6Unspecified()
	long := port.Range{First: 1000, Last: 1099}
	for name, row := range map[string]struct {
		b port.Binding
		m *natv1.PortBinding
	}{
		"port": {port.Binding{Protocol: port.TCP, HostIP: all4, Host: port.Single(8080), ContainerIP: v4,
			Container: port.Single(80), Sources: "10.0.0.0/8"},
			&natv1.PortBinding{Protocol: tcp, HostIp: "0.0.0.0", HostPort: 8080, ContainerIp: "10.0.0.2",
				ContainerPort: 80, AllowedSources: []string{"10.0.0.0/8"}}},
		"range": {port.Binding{Protocol: port.UDP, HostIP: all6, Host: long, ContainerIP: v6, Container: long},
			&natv1.PortBinding{Protocol: udp, HostIp: "::", HostPort: 1000, HostPortEnd: 1099, ContainerIp: "fd00::2",
				ContainerPort: 1000}},
		"published address": {port.Binding{Protocol: port.All, HostIP: netip.MustParseAddr("10.9.0.1"),
			ContainerIP: v4, SNAT: true},
			&natv1.PortBinding{Protocol: natv1.Protocol_PROTOCOL_ALL, HostIp: "10.9.0.1", ContainerIp: "10.0.0.2",
				Snat: true}},
		"direct access": {port.Binding{Protocol: port.TCP, HostIP: v4, Host: port.Single(80), ContainerIP: v4,
			Container: port.Single(80)},
			&natv1.PortBinding{Protocol: tcp, HostIp: "0.0.0.0", ContainerIp: "10.0.0.2", ContainerPort: 80}},
		"direct access to a range": {port.Binding{Protocol: port.UDP, HostIP: v6, Host: long, ContainerIP: v6,
			Container: long},
			&natv1.PortBinding{Protocol: udp, HostIp: "::", ContainerIp: "fd00::2", ContainerPort: 1000,
				ContainerPortEnd: 1099}},
	} {
		if got := portpb.BindingToProto(row.b); !proto.Equal(got, row.m) {
			t.Errorf("%s: got %v, want %v", name, got, row.m)
		}
		if got, err := portpb.BindingFromProto(row.m); err != nil || got != row.b {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, row.b)
		}
	}
}

// TestAcceptedMappingsAreValid: no message makes a mapping that Validate rejects.
func TestAcceptedMappingsAreValid(t *testing.T) {
	hosts := []string{"", "0.0.0.0", "::1", "::ffff:1.2.3.4", "224.0.0.1", "x"}
	networks := []string{"10.0.0.0/8", "::/0", "y"}
	number := rapid.OneOf(rapid.Uint32Range(0, 9), rapid.Uint32Range(65530, 65540), rapid.Just(uint32(math.MaxUint32)))
	rapid.Check(t, func(t *rapid.T) {
		in := &natv1.PortMapping{Protocol: natv1.Protocol(rapid.Int32Range(-1, 5).Draw(t, "protocol")),
			HostIp:   rapid.SampledFrom(hosts).Draw(t, "ip"),
			HostPort: number.Draw(t, "host"), HostPortEnd: number.Draw(t, "host end"),
			ContainerPort: number.Draw(t, "container"), ContainerPortEnd: number.Draw(t, "container end"),
			AllowedSources: rapid.SliceOfN(rapid.SampledFrom(networks), 0, 2).Draw(t, "from")}
		m, err := portpb.MappingFromProto(in)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatal(err)
			}
			return
		}
		if err := m.Validate(); err != nil {
			t.Fatalf("%v became %+v: %v", in, m, err)
		}
		if again, err := portpb.MappingFromProto(portpb.MappingToProto(m)); err != nil || again != m {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}
