package netagent

import (
	"errors"
	"net/netip"
	"os"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
)

func TestForwardingBothFamilies(t *testing.T) {
	h, outside := newHost(t), testns.New(t)
	testns.Connect(t, h.ns, "up0", "10.1.0.1/24 fd01::1/64", outside, "eth0", "10.1.0.2/24 fd01::2/64")
	outside.Run("ip", "route", "add", "172.17.0.0/16", "via", "10.1.0.1")
	outside.Run("ip", "route", "add", "fd00:17::/64", "via", "fd01::1")
	h.cfg.FixedCIDRv6 = netip.MustParsePrefix("fd00:17::/64")
	a := h.run()
	sb := a.container()
	h.mustReach(sb.NetnsPath, "10.1.0.2")
	h.mustReach(outside.Path(), "172.17.0.2")

	// DAD of the link's own addresses takes a second.
	h.eventually("the container reaches the outside over IPv6", func() bool {
		return h.reaches(sb.NetnsPath, "fd01::2")
	})

	h.eventually("the outside reaches the container over IPv6", func() bool {
		return h.reaches(outside.Path(), "fd00:17::2")
	})
}

func TestForwardingOnAddressedInterfacesOnly(t *testing.T) {
	h := newHost(t)
	h.ns.Run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1")
	h.ns.Run("ip", "addr", "add", "10.1.0.1/24", "dev", "up0")
	a := h.run()
	forwarding := func(link string) string {
		return h.ns.Run("cat", "/proc/sys/net/ipv4/conf/"+link+"/forwarding")
	}

	for link, want := range map[string]string{"docker0": "1", "up0": "1", "up1": "0", "all": "0", "default": "0"} {
		if got := forwarding(link); got != want {
			t.Errorf("%s/forwarding: got %s, want %s", link, got, want)
		}
	}

	h.ns.Run("ip", "addr", "add", "10.2.0.1/24", "dev", "up1")
	h.eventually("forwarding is enabled on a newly addressed interface", func() bool {
		return forwarding("up1") == "1"
	})

	originals := map[string]string{}
	for _, s := range a.store.Sysctls() {
		originals[s.Path] = s.Original
	}

	for _, path := range []string{"net/ipv4/conf/up0/forwarding", "net/ipv4/conf/up1/forwarding"} {
		if originals[path] != "0" {
			t.Errorf("stored original of %s: got %q, want 0", path, originals[path])
		}
	}
}

func TestForwardingHostIsUnchanged(t *testing.T) {
	h := newHost(t)
	h.ns.Run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1")
	h.ns.Run("ip", "addr", "add", "10.1.0.1/24", "dev", "up0")
	h.ns.Run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv4/conf/up0/forwarding")
	h.run()
	if got := h.ns.Run("cat", "/proc/sys/net/ipv4/conf/up0/forwarding"); got != "0" {
		t.Error("forwarding was enabled on an interface where the administrator disabled it")
	}
}

func TestOtherBridgesKeepTheirNetfilter(t *testing.T) {
	const path = "/proc/sys/net/bridge/bridge-nf-call-iptables"
	if _, err := os.Stat(path); err != nil {
		t.Skip("needs br_netfilter in the kernel")
	}

	alone, withBridge, node := newHost(t), newHost(t), newHost(t)
	for _, h := range []*host{alone, withBridge, node} {
		h.cfg.root = t.TempDir() // this machine can have podman, whose configuration counts
	}
	if err := errors.Join(os.MkdirAll(node.cfg.root+"/etc/sysctl.d", 0o755),
		os.WriteFile(node.cfg.root+"/etc/sysctl.d/k8s.conf", []byte("net.bridge.bridge-nf-call-iptables = 1\n"),
			0o644)); err != nil {
		t.Fatal(err)
	}

	withBridge.ns.Run("ip", "link", "add", "virbr0", "type", "bridge")
	for _, h := range []*host{alone, withBridge, node} {
		h.ns.Run("sh", "-c", "echo 1 >"+path)
		h.run()
	}
	if got := alone.ns.Run("cat", path); got != "0" {
		t.Errorf("got %s without another bridge, want 0", got)
	}
	if got := withBridge.ns.Run("cat", path); got != "1" {
		t.Errorf("got %s with another bridge, want 1", got)
	}
	if got := node.ns.Run("cat", path); got != "1" {
		t.Errorf("got %s on a Kubernetes node, want 1", got)
	}
}
