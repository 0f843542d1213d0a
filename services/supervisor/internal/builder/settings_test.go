package builder

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSettings(t *testing.T) {
	got := settings{Root: `/data/"b"`, Socket: "/run/b.sock", Runtime: "/usr/sbin/runc", Network: "/run/n.json",
		Plugins: "/run/cni", HostGateway: "172.17.0.1", DNS: []string{"9.9.9.9", "2620:fe::fe"}, Registries: Registries{
			Mirrors:  []string{"http://127.0.0.1:5000", "https://mirror.example/hub/", "not a mirror"},
			Insecure: []string{"127.0.0.0/8", "registry.example:5000"}}}.toml()
	want := `root = "/data/\"b\""
insecure-entitlements = ["network.host"]

[grpc]
address = ["unix:///run/b.sock"]

[otel]
socketPath = "/run/b.sock.otel"

[cdi]
disabled = true

[worker.containerd]
enabled = false

[worker.oci]
enabled = true
binary = "/usr/sbin/runc"
networkMode = "cni"
cniConfigPath = "/run/n.json"
cniBinaryPath = "/run/cni"

[worker.oci.labels]
"org.mobyproject.buildkit.worker.moby.host-gateway-ip" = "172.17.0.1"

[dns]
nameservers = ["9.9.9.9", "2620:fe::fe"]

[registry."127.0.0.1:5000"]
http = true

[registry."docker.io"]
mirrors = ["127.0.0.1:5000", "mirror.example/hub"]

[registry."registry.example:5000"]
http = true
insecure = true
`
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestNetworkConfig(t *testing.T) {
	want := `{"cniVersion":"1.0.0","name":"fairlead","socket":"/run/n.sock","type":"fairlead-build"}`
	if got := string(networkConfig("/run/n.sock")); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
