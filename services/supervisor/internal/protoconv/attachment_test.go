package protoconv_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/fairlead/fairlead/proto/bandwidth"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/protoconv"
)

func TestAttachmentRoundTrip(t *testing.T) {
	keep := false
	in := &containerv1.NetworkConfig{Mode: "n1", KeepNetns: &keep,
		Links: []*containerv1.Link{{Container: "db", Alias: "base"}},
		Networks: []*containerv1.NetworkAttachment{{Network: "n1", Ipv4Address: "10.0.0.5", Ipv6Address: "fd00::5",
			MacAddress: "02:00:00:00:00:01", Aliases: []string{"a"}, GatewayPriority: -2, InterfaceName: "lan",
			LinkLocalAddresses: []string{"169.254.7.7", "fe80::7"},
			Sysctls:            []string{"net.ipv4.conf.IFNAME.log_martians=1"},
			Links:              []*containerv1.Link{{Container: "cache", Alias: "fast"}}}, {Network: "n2"}}}
	cfg, err := protoconv.ConfigFromProto(&containerv1.ContainerConfig{Image: "x", Network: in})
	if err != nil {
		t.Fatal(err)
	}

	out := protoconv.ContainerToProto(&container.Container{Config: cfg}, "", nil).GetConfig().GetNetwork()
	if d := cmp.Diff(in, out, protocmp.Transform()); d != "" {
		t.Errorf("in - out +:\n%s", d)
	}

	want := &networkv1.EndpointSpec{Network: "n1", BandwidthIn: 1e6, BandwidthOut: 2e6,
		Ipv4Address: "10.0.0.5", Ipv6Address: "fd00::5",
		MacAddress: "02:00:00:00:00:01", InterfaceName: "lan", GatewayPriority: -2,
		LinkLocalAddresses: []string{"169.254.7.7", "fe80::7"},
		Sysctls:            []string{"net.ipv4.conf.IFNAME.log_martians=1"}}
	if d := cmp.Diff(want, protoconv.EndpointSpecToProto(cfg.Network.Attachments[0],
		bandwidth.Limit{In: 1e6, Out: 2e6}), protocmp.Transform()); d != "" {
		t.Errorf("for netagent: want - got +:\n%s", d)
	}
}

func TestAttachmentRejectsInvalidAddress(t *testing.T) {
	for _, a := range []*containerv1.NetworkAttachment{{Network: "n1", Ipv4Address: "x"},
		{Network: "n1", Ipv6Address: "1.2.3"}} {
		if _, err := protoconv.ConfigFromProto(
			&containerv1.ContainerConfig{
				Network: &containerv1.NetworkConfig{Networks: []*containerv1.NetworkAttachment{a}}}); !fault.Is(err,
			fault.Invalid) {
			t.Errorf("%v: got %v", a, err)
		}
	}
}

func TestConfigWithoutNetworkGetsDefaults(t *testing.T) {
	for name, in := range map[string]*containerv1.ContainerConfig{
		"no network": {Image: "busybox"}, "empty network": {Image: "busybox", Network: &containerv1.NetworkConfig{}},
		"nothing": {},
	} {
		c, err := protoconv.ConfigFromProto(in)
		if err != nil || c.Network.Mode != container.ModeBridge || c.Network.DropSharers ||
			len(c.Network.Attachments) != 1 {
			t.Errorf("%s: got %+v, %v, want default bridge", name, c.Network, err)
		}
	}
}
