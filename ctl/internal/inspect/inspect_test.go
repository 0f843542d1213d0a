package inspect_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/ctl/internal/inspect"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

var update = flag.Bool("update", false, "update the golden files")

const (
	tcp = natv1.Protocol_PROTOCOL_TCP
	udp = natv1.Protocol_PROTOCOL_UDP
)

func at(second int64) *timestamppb.Timestamp {
	return timestamppb.New(time.Unix(1_790_000_000+second, 123456789))
}

var image = &containerv1.Image{
	Id: "sha256:aaaa", Tags: []string{"nginx:latest"}, Layers: []string{"sha256:1111",
		"sha256:2222"}, Size: 187_000_000,
	CreatedAt: at(-86400), Platform: "linux/arm64/v8",
	Config: []byte(`{"author":"someone","config":{"User":"www","Env":["PATH=/bin","LANG=C"],"Entrypoint":["/entry"],"Cmd":["nginx"],
		"WorkingDir":"/srv","Labels":{"a":"image","b":"image"},"StopSignal":"SIGQUIT","ExposedPorts":{"80/tcp":{}}}}`),
}

func running() *containerv1.Container {
	return &containerv1.Container{
		Id: "c1c1", ImageId: "sha256:aaaa", Status: containerv1.ContainerStatus_CONTAINER_STATUS_RUNNING, Pid: 4242,
		CreatedAt: at(0), StartedAt: at(1), Args: []string{"/entry", "nginx", "-g"}, Hostname: "web.example",
		HostnamePath: "/r/hostname", HostsPath: "/r/hosts", ResolvConfPath: "/r/resolv.conf", LogPath: "/d/log",
		Config: &containerv1.ContainerConfig{
			Name: "web", Image: "nginx", Command: []string{"nginx", "-g"}, Env: []string{"PATH=/bin", "LANG=de",
				"X=1"}, User: "www", WorkingDir: "/srv", StopSignal: "SIGQUIT", AutoRemove: true, Runtime: "crun",
			Labels: map[string]string{"a": "image",
				"b": "own"}, StopTimeout: proto.Uint32(3), Tty: true, OpenStdin: true,
			Mounts: []*containerv1.Mount{
				{Source: "/a", Target: "/b", ReadOnly: true}, {Source: "/c", Target: "/d", Propagation: "rshared"},
				{Source: "/e", Target: "/f", ReadOnly: true, Propagation: "rslave"}, {Source: "/g", Target: "/h"}},
			Network: &containerv1.NetworkConfig{Publish: []*natv1.PortMapping{
				{Protocol: tcp, HostPort: 8080, ContainerPort: 80},
				{Protocol: tcp, HostPort: 9000, HostPortEnd: 9010, ContainerPort: 90},
				{Protocol: udp, HostIp: "127.0.0.1", HostPort: 53, HostPortEnd: 54, ContainerPort: 1053,
					ContainerPortEnd: 1054},
				{Protocol: tcp, ContainerPort: 443},
			}, Networks: []*containerv1.NetworkAttachment{{Network: "bridge", GatewayPriority: 5,
				InterfaceName: "lan", LinkLocalAddresses: []string{"169.254.7.7"},
				Aliases: []string{"www"}, Links: []*containerv1.Link{{Container: "c8",
					Alias: "cache"}}, Sysctls: []string{"net.ipv4.conf.IFNAME.log_martians=1"}}},
				Links:     []*containerv1.Link{{Container: "c9", Alias: "db"}},
				KeepNetns: proto.Bool(false)},
			Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
			Dns: &containerv1.DnsConfig{Hostname: "web.example", Servers: []string{"1.1.1.1"},
				ExtraHosts: []string{"qq.com:2.2.2.2"}},
		},
		Exposed: []*containerv1.ExposedPort{{Protocol: tcp, Port: 80}, {Protocol: tcp, Port: 81, PortEnd: 82}},
		Bindings: []*natv1.PortBinding{
			{Protocol: tcp, HostIp: "::", HostPort: 8080, ContainerPort: 80},
			{Protocol: tcp, HostIp: "0.0.0.0", HostPort: 8080, ContainerPort: 80},
		},
		Sandbox: &networkv1.Sandbox{NetnsPath: "/r/netns/c1", Endpoints: []*networkv1.Endpoint{{
			Id: "e1", NetworkId: "n1", NetworkName: "bridge", MacAddress: "02:42:ac:11:00:02",
			Ipv4Address: "172.17.0.2/16",
			Ipv4Gateway: "172.17.0.1", Ipv6Address: "fd00::2/64", Ipv6Gateway: "fd00::1"}}},
	}
}

func TestDocumentsMatchDocker(t *testing.T) {
	created := &containerv1.Container{Id: "c2", Status: containerv1.ContainerStatus_CONTAINER_STATUS_EXITED,
		ExitCode: 3, OomKilled: true,
		Error: "no", CreatedAt: at(0), FinishedAt: at(9), Args: []string{"sh"},
		Config: &containerv1.ContainerConfig{Name: "b", Image: "x", Entrypoint: []string{"sh"},
			Network: &containerv1.NetworkConfig{Mode: "none"}}}
	bridge := &networkv1.Network{Id: "n1", Name: "bridge", Driver: "bridge", Predefined: true, Ipv4: true,
		Bridge: "docker0", Mtu: 1500, Masquerade: true, CreatedAt: at(0),
		Icc: true, Pools: []*networkv1.Pool{{Subnet: "172.17.0.0/16", IpRange: "172.17.1.0/24",
			Gateway: "172.17.0.1", AuxAddresses: map[string]string{"a": "172.17.0.9"}, Used: 4, Free: 254}}}
	for name, doc := range map[string]any{
		"running": inspect.FromContainer(running(), image),
		"exited":  inspect.FromContainer(created, nil),
		"image":   inspect.FromImage(image),
		"network": inspect.FromNetwork(bridge, []*containerv1.Container{running()}),
	} {
		got, err := inspect.Indent([]any{doc})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestEntrypointReplacesImageCommand(t *testing.T) {
	for _, c := range []struct {
		entrypoint, command, wantEntrypoint, wantCommand []string
	}{
		{nil, nil, []string{"/entry"}, []string{"nginx"}},
		{nil, []string{"x"}, []string{"/entry"}, []string{"x"}},
		{[]string{"sh"}, nil, []string{"sh"}, nil},
		{[]string{"sh"}, []string{"x"}, []string{"sh"}, []string{"x"}},
	} {
		got := inspect.FromContainer(
			&containerv1.Container{Config: &containerv1.ContainerConfig{Entrypoint: c.entrypoint,
				Command: c.command}}, image).Config
		if diff := cmp.Diff([][]string{c.wantEntrypoint, c.wantCommand},
			[][]string{got.Entrypoint, got.Cmd}); diff != "" {
			t.Errorf("%v: %s", c, diff)
		}
	}
}

func TestContainerWithoutNetworks(t *testing.T) {
	on := func(mode string, networks ...*containerv1.NetworkAttachment) *containerv1.Container {
		return &containerv1.Container{
			Config: &containerv1.ContainerConfig{Network: &containerv1.NetworkConfig{Mode: mode, Networks: networks}},
		}
	}
	for name, c := range map[string]struct {
		container *containerv1.Container
		want      int
	}{
		"disconnected from its only network": {on("n1"), 0},
		"not started yet":                    {on("n1", &containerv1.NetworkAttachment{Network: "n1"}), 1},
		"none":                               {on("none"), 1},
		"host":                               {on("host"), 1},
	} {
		if got := inspect.FromContainer(c.container, nil).NetworkSettings.Networks; len(got) != c.want {
			t.Errorf("%s: got %v, want %d networks", name, got, c.want)
		}
	}
}
