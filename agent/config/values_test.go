package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/proto/fault"
)

func TestDockerKeysWithOneValue(t *testing.T) {
	const firewall = "published ports are firewall rules; firewall-backend selects the firewall"
	for key, why := range map[string]string{"iptables": firewall, "ip6tables": firewall,
		"live-restore": "containers always outlive the agent"} {
		build(t, flags(key+"=true"))
		for _, text := range []string{"false", "maybe"} {
			_, err := config.Build(flags(key + "=" + text))
			want := fmt.Sprintf(`%s (flag --%s): "%s" is not supported; remove it: %s`, key, key, text, why)
			if !fault.Is(err, fault.Invalid) || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		}
	}
	for _, key := range []string{"userland-proxy", "ip-forward-no-drop"} {
		build(t, flags(key+"=true"))
		build(t, flags(key+"=false"))
		if _, err := config.Build(flags(key + "=x")); err == nil || err.Error() != key+" (flag --"+key+
			`): "x" is neither true nor false; write true or false` {
			t.Errorf("got %v", err)
		}
	}
}

func TestFirewallMarks(t *testing.T) {
	for text, want := range map[string][2]uint32{"1": {1, 0xffffffff}, "0x10": {16, 0xffffffff},
		"0x10/0xf0": {16, 0xf0}, "0/1": {0, 1}, "4294967295": {0xffffffff, 0xffffffff}} {
		c := build(t, flags("bridge-accept-fwmark="+text))
		if got := [2]uint32{c.AcceptMark, c.AcceptMask}; got != want {
			t.Errorf("%s: got %#x, want %#x", text, got, want)
		}
	}
	for _, text := range []string{"0x10/0", "1/x", "4294967296", "-1", "1/", "/1"} {
		if _, err := config.Build(flags("bridge-accept-fwmark=" + text)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want an error", text, err)
		}
	}
}

func TestDockerHostsConflicts(t *testing.T) {
	const key = "docker-hosts (flag --docker-hosts)"
	for want, entries := range map[string][]string{
		key + ": has none and an address; remove one of them": {"docker-hosts=none", "docker-hosts=unix:///run/d.sock"},
		key + ", hosts (flag --hosts): both have unix:///run/d.sock; use another address for one of them": {
			"docker-hosts=unix:///run/d.sock", "hosts=unix:///run/d.sock"},
		key + `: "d.sock" has no scheme; write unix:///PATH, tcp://ADDRESS:PORT or fd://`: {"docker-hosts=d.sock"},
	} {
		_, err := config.Build(flags(entries...))
		if !fault.Is(err, fault.Invalid) || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	if c := build(t, flags("docker-hosts=none")); len(c.DockerHosts) != 0 {
		t.Errorf("got hosts %v for none", c.DockerHosts)
	}
	if c := build(t, flags("docker-hosts=fd://", "hosts=fd://")); len(c.DockerHosts) != 1 || len(c.Hosts) != 1 {
		t.Errorf("got hosts %v and %v with sockets of systemd", c.DockerHosts, c.Hosts)
	}
}

func TestMetricsAddress(t *testing.T) {
	for _, text := range []string{"tcp://0.0.0.0:9323", "tcp://10.0.0.1:9323", "fd://", "9323", "tcp://127.0.0.1"} {
		if _, err := config.Build(flags("metrics-address=" + text)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s without TLS: got %v, want an error", text, err)
		}
	}
	for _, text := range []string{"tcp://127.0.0.1:9323", "tcp://[::1]:9323", "unix:///run/m.sock"} {
		if c := build(t, flags("metrics-address="+text)); c.MetricsAddress.String() != text {
			t.Errorf("got %s, want %s", c.MetricsAddress, text)
		}
	}
	secured := flags("metrics-address=tcp://0.0.0.0:9323", "tlsverify=true", "tlscacert=/a", "tlscert=/b", "tlskey=/c")
	if c := build(t, secured); c.MetricsAddress.Loopback() {
		t.Errorf("got %s with TLS", c.MetricsAddress)
	}
}

func TestTracesEndpoint(t *testing.T) {
	for _, text := range []string{"127.0.0.1:4317", "tcp://127.0.0.1:4317", "http://", "http://:4317", "http://h:0",
		"http://h/v1/traces", "http://u@h", "https://h?x", "http://::1", "unix://d.sock", "fd://"} {
		if _, err := config.Build(flags("traces-endpoint=" + text)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want an error", text, err)
		}
	}
	for text, want := range map[string][2]string{
		"http://127.0.0.1":       {"http://127.0.0.1:4317", "dns:///127.0.0.1:4317"},
		"http://[::1]/":          {"http://[::1]:4317", "dns:///[::1]:4317"},
		"https://otel.corp:443":  {"https://otel.corp:443", "dns:///otel.corp:443"},
		"unix:///run/otel.sock":  {"unix:///run/otel.sock", "unix:///run/otel.sock"},
		"http://collector:14317": {"http://collector:14317", "dns:///collector:14317"},
	} {
		c := build(t, flags("traces-endpoint="+text)).TracesEndpoint
		if got := [2]string{c.String(), c.Target()}; got != want || c.TLS != strings.HasPrefix(text, "https") {
			t.Errorf("%s: got %v, TLS %v, want %v", text, got, c.TLS, want)
		}
	}
}

func TestRegistryLists(t *testing.T) {
	c := build(t, flags("registry-mirrors=https://mirror.example:5000", "registry-mirrors=http://10.0.0.1",
		"insecure-registries=registry:5000", "insecure-registries=10.0.0.0/8"))
	if got := fmt.Sprint(c.RegistryMirrors, c.InsecureRegistries); got !=
		"[https://mirror.example:5000 http://10.0.0.1] [registry:5000 10.0.0.0/8]" {
		t.Errorf("got %s", got)
	}
	for _, text := range []string{"ftp://m", "https://", "https://u@m", "https://m?x", "https://m#x", "://"} {
		if _, err := config.Build(flags("registry-mirrors=" + text)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want an error", text, err)
		}
	}
	for _, text := range []string{"a/b", "a b", "u@r", "r?x"} {
		if _, err := config.Build(flags("insecure-registries=" + text)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want an error", text, err)
		}
	}
}

func TestUlimitsOfFileAndFlags(t *testing.T) {
	for name, c := range map[string]struct {
		layers []config.Layer
		want   string
	}{
		"flag":       {[]config.Layer{flags("default-ulimits=nofile=1:2")}, "[{nofile 1 2}]"},
		"one number": {[]config.Layer{flags("default-ulimits=nofile=5")}, "[{nofile 5 5}]"},
		"unlimited":  {[]config.Layer{flags("default-ulimits=core=-1")}, "[{core -1 -1}]"},
		"hard in file": {[]config.Layer{file("default-ulimits=nofile=Name=nofile", "default-ulimits=nofile=Hard=9",
			"default-ulimits=nofile=Soft=4")}, "[{nofile 4 9}]"},
		"soft first": {[]config.Layer{file("default-ulimits=nofile=Soft=4", "default-ulimits=nofile=Hard=9")},
			"[{nofile 4 9}]"},
		"flag wins": {[]config.Layer{file("default-ulimits=nofile=Soft=4", "default-ulimits=nofile=Hard=9"),
			flags("default-ulimits=nofile=1:2")}, "[{nofile 1 2}]"},
		"both": {[]config.Layer{file("default-ulimits=core=Soft=0"), flags("default-ulimits=nofile=1:2")},
			"[{nofile 1 2} {core 0 0}]"},
	} {
		if got := fmt.Sprint(build(t, c.layers...).Ulimits); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
	for _, text := range []string{"files=1", "nofile=2:1", "nofile=-1:5", "nofile=-2", "nofile=", "nofile=x",
		"nofile=Name=core", "nofile=Max=1", "nofile=Soft=x"} {
		if _, err := config.Build(flags("default-ulimits=" + text)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want an error", text, err)
		}
	}
}
