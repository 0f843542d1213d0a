package netagent

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
)

func TestRestartChangesNothing(t *testing.T) {
	h := newHost(t)
	a := h.run()
	sb := a.container()
	h.eventually("both links have a carrier", func() bool {
		return strings.Count(h.ns.Run("ip", "-o", "link"), " state UP ") == 2
	})

	networks, links := a.store.Networks(), h.ns.Run("ip", "-o", "link")
	a.stop()
	h.mustReach(h.ns.Path(), "172.17.0.2") // works without an agent
	h.guard.SetDown(true)                  // the agent does not wait for it after the first acknowledgment
	b := h.run()
	for i, n := range b.store.Networks() {
		if n.ID != networks[i].ID || !n.CreatedAt.Equal(networks[i].CreatedAt) {
			t.Errorf("network %s changed in a restart", n.Name)
		}
	}
	if now := h.ns.Run("ip", "-o", "link"); now != links {
		t.Errorf("links: got\n%s\nwant\n%s", now, links)
	}
	if again := b.create(onBridge(sb.Owner)); again.Endpoints[0].ID != sb.Endpoints[0].ID {
		t.Error("the sandbox was recreated after a restart")
	}
	if got := h.address(b.container()); got != "172.17.0.3" {
		t.Errorf("got next address %s", got)
	}

	h.mustReach(h.ns.Path(), "172.17.0.2")
}

func TestStaleStateIsRemoved(t *testing.T) {
	h := newHost(t)
	a := h.run()
	kept, lost, stray := a.container(), a.container(), a.container()
	bridge, _ := a.store.NetworkNamed("bridge")

	// Killed after storing a sandbox and before pinning it: the kernel deleted the namespace.
	if err := kernel.Unpin(lost.NetnsPath); err != nil {
		t.Fatal(err)
	}

	// Killed after pinning a namespace and before storing its sandbox.
	if err := a.store.DeleteSandboxes(stray.Owner); err != nil {
		t.Fatal(err)
	}

	// Killed before the deletion of a link. A foreign link has a similar name and alias.
	h.ns.Run("ip", "link", "add", "vethdead000", "type", "veth", "peer", "name", "vethdead001")
	h.ns.Run("ip", "link", "set", "vethdead000", "alias", endpoint.Alias(bridge.ID, id.New()))
	h.ns.Run("ip", "link", "add", "vethc0ffee0", "type", "veth", "peer", "name", "vethc0ffee1")
	h.ns.Run("ip", "link", "set", "vethc0ffee0", "alias", endpoint.Alias(id.New(), id.New()))
	h.ns.Run("ip", "neigh", "replace", "172.17.9.9", "lladdr", "02:42:ac:11:09:09", "nud", "permanent", "dev",
		"docker0")
	a.stop()

	// killed after creating the file and before mounting on it
	if err := os.WriteFile(filepath.Join(h.cfg.ExecRoot, "netns", "abc"), nil, 0o600); err != nil {
		t.Fatal(err)
	}

	b := h.run()
	if all := b.sandboxes.List(); len(all) != 1 || all[0].Owner != kept.Owner {
		t.Errorf("got sandboxes %v, want only the kept one", all)
	}
	if pins := h.pins(); len(pins) != 1 || pins[0] != kept.NetnsPath {
		t.Errorf("got pins %v, want only %s", pins, kept.NetnsPath)
	}

	h.eventually("only the kept port is left", func() bool { return len(h.ports("docker0")) == 1 })
	links := h.ns.Run("ip", "-o", "link")
	if strings.Contains(links, "vethdead") {
		t.Errorf("the stale link was not deleted:\n%s", links)
	}

	has(t, "the list of links", links, "vethc0ffee0", kept.Endpoints[0].HostInterface)
	if out := h.ns.Run("ip", "neigh", "show", "dev", "docker0", "nud", "permanent"); strings.Count(out, "172.17") != 1 {
		t.Errorf("got neighbour entries:\n%s", out)
	}
	if got := h.address(b.container()); got != "172.17.0.3" {
		t.Errorf("got next address %s", got)
	}
}

func TestRebootLeavesNoState(t *testing.T) {
	h := newHost(t)
	a := h.run()
	sb := a.container()
	first, _ := a.store.NetworkNamed("bridge")
	a.stop()
	h.unpinAll() // deletes the namespaces and their links
	h.ns.Run("ip", "link", "del", "docker0")
	b := h.run()
	if all := b.sandboxes.List(); len(all) > 0 {
		t.Errorf("got sandboxes %v, want none", all)
	}
	if again, _ := b.store.NetworkNamed("bridge"); again.ID != first.ID {
		t.Error("the network ID changed")
	}
	if got := h.address(b.create(onBridge(sb.Owner))); got != "172.17.0.2" {
		t.Errorf("got address %s after recreation", got)
	}

	h.mustReach(h.ns.Path(), "172.17.0.2")
}

func TestMissingNamespaceIsRecreated(t *testing.T) {
	a := newHost(t).run()
	sb := a.container()
	if err := kernel.Unpin(sb.NetnsPath); err != nil {
		t.Fatal(err)
	}
	again := a.create(onBridge(sb.Owner))
	a.mustReach(a.ns.Path(), a.address(again))
	a.release(again)
	a.checkNoState()
}

func TestReadyNeedsNatagent(t *testing.T) {
	h := newHost(t)
	h.guard.SetDown(true)
	a := h.start()
	h.eventually("the agent accepts requests", func() bool {
		_, err := a.sandboxes.Create(context.Background(), onBridge(id.New()))
		if err == nil {
			t.Fatal("a sandbox was created without firewall rules")
		}
		return strings.Contains(err.Error(), "natagent") && fault.Is(err, fault.Unavailable)
	})

	select {
	case <-a.ready:
		t.Error("ready without firewall rules")
	default:
	}
	if got := h.ns.Run("cat", "/proc/sys/net/ipv4/conf/docker0/route_localnet"); got != "0" {
		t.Error("route_localnet is enabled without firewall rules")
	}

	a.create(endpoint.Request{Owner: id.New(), Mode: endpoint.Private}) // does not need natagent
	h.guard.SetDown(false)
	select {
	case <-a.ready:
	case <-time.After(waitTimeout):
		t.Fatal("not ready after natagent acknowledged")
	}

	put := h.guard.Puts()[0]
	if put.GetBridge() != "docker0" || put.GetSubnets()[0] != "172.17.0.0/16" || !put.GetMasquerade() || !put.GetIcc() {
		t.Errorf("got firewall request %v", put)
	}
	if got := h.ns.Run("cat", "/proc/sys/net/ipv4/conf/docker0/route_localnet"); got != "1" {
		t.Error("route_localnet is disabled with firewall rules")
	}

	a.container()
}

func TestOtherLinkWithBridgeNameFails(t *testing.T) {
	h := newHost(t)
	h.ns.Run("ip", "link", "add", "docker0", "type", "veth", "peer", "name", "other")
	a := h.start()
	select {
	case err := <-a.ended:
		a.ended <- nil
		if !fault.Is(err, fault.Busy) || !strings.Contains(err.Error(), "docker0") ||
			!strings.Contains(err.Error(), "not a bridge") {
			t.Errorf("agent failed with %v", err)
		}
	case <-time.After(waitTimeout):
		t.Fatal("agent did not fail")
	}

	has(t, "the foreign link", h.ns.Run("ip", "-d", "link", "show", "docker0"), "veth")
}

func TestExistingBridgeIsAdopted(t *testing.T) {
	h := newHost(t)
	h.cfg.MTU = 1400
	h.ns.Run("ip", "link", "add", "docker0", "type", "bridge")
	h.ns.Run("ip", "addr", "add", "10.9.9.1/24", "dev", "docker0")
	index := func() string { return strings.Fields(h.ns.Run("ip", "-o", "link", "show", "docker0"))[0] }
	before := index()
	h.run()
	if index() != before {
		t.Error("the bridge was recreated")
	}

	out := h.ns.Run("ip", "addr", "show", "docker0")
	has(t, "docker0", out, "172.17.0.1/16", "mtu 1400", "02:42:ac:11:00:01", "UP")
	if strings.Contains(out, "10.9.9.1") {
		t.Errorf("the foreign address was not removed:\n%s", out)
	}
}

func TestChangedBridgeIsReconciled(t *testing.T) {
	a := newHost(t).run()
	sb := a.container()
	for _, disturb := range [][]string{
		{"ip", "addr", "del", "172.17.0.1/16", "dev", "docker0"},
		{"ip", "addr", "add", "10.9.9.1/24", "dev", "docker0"},
		{"ip", "link", "set", "docker0", "mtu", "1300"},
		{"ip", "link", "set", "docker0", "address", "02:00:00:00:00:01"},
		{"ip", "link", "set", "docker0", "down"},
		{"ip", "link", "del", "docker0"},
	} {
		a.ns.Run(disturb[0], disturb[1:]...)
		a.eventually("docker0 is repaired after "+strings.Join(disturb, " "), func() bool {
			out, err := a.ns.Try("ip", "addr", "show", "docker0")
			return err == nil && strings.Contains(out, "172.17.0.1/16") && strings.Contains(out, "mtu 1500") &&
				strings.Contains(out, "02:42:ac:11:00:01") && strings.Contains(out, ",UP") &&
				!strings.Contains(out, "10.9.9.1")
		})
		a.eventually("the container is reachable after "+strings.Join(disturb, " "), func() bool {
			return a.reaches(a.ns.Path(), "172.17.0.2") && a.reaches(sb.NetnsPath, "172.17.0.1")
		})
	}
}

func TestAddressReusedDespiteHeldNamespace(t *testing.T) {
	a := newHost(t).run()
	old := a.container()
	a.mustReach(old.NetnsPath, "172.17.0.1") // the bridge learns its MAC
	ctx, cancel := context.WithCancel(context.Background())
	holder := a.ns.Command(ctx, "nsenter", "--net="+old.NetnsPath, "--", "sleep", "60")
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = holder.Wait() }() // killed
	heldNS := "/proc/" + strconv.Itoa(holder.Process.Pid) + "/ns/net"
	a.eventually("the process is in the namespace", func() bool {
		inside, err := os.Stat(heldNS)
		pinned, perr := os.Stat(old.NetnsPath)
		return err == nil && perr == nil && os.SameFile(inside, pinned)
	})

	a.release(old)
	next := a.container()
	if a.address(next) != "172.17.0.2" {
		t.Fatalf("the address is not reused: got %s", a.address(next))
	}

	a.mustReach(a.ns.Path(), "172.17.0.2")
	a.mustReach(next.NetnsPath, "172.17.0.1")
	if a.reaches(heldNS, "172.17.0.1") {
		t.Error("the released container still reaches the host")
	}

	a.eventually("the released veth pair is deleted", func() bool { return len(a.ports("docker0")) == 1 })
	if out := a.ns.Run("nsenter", "--net="+heldNS, "--", "ip", "-o", "link"); len(strings.Split(out, "\n")) != 1 {
		t.Errorf("the released namespace has more than lo:\n%s", out)
	}

	a.mustReach(a.ns.Path(), "172.17.0.2")
}

func TestAgentsWithOtherRootsAreIndependent(t *testing.T) {
	one := newHost(t)
	two := newHostIn(t, one.ns)
	two.cfg.BridgeName, two.cfg.Bip = "fair0", netip.MustParsePrefix("10.20.0.1/24")
	a, b := one.run(), two.run()
	sa, sb := a.container(), b.container()
	a.stop()
	b.stop()
	a, b = one.run(), two.run()
	if len(a.sandboxes.List()) != 1 || len(b.sandboxes.List()) != 1 {
		t.Error("a sandbox was removed")
	}

	a.mustReach(a.ns.Path(), a.address(sa))
	b.mustReach(b.ns.Path(), b.address(sb))
	a.release(sa)
	b.mustReach(b.ns.Path(), b.address(sb))
}

func TestSecondAgentOnSameRootsFails(t *testing.T) {
	h := newHost(t)
	h.run()
	if _, err := New(context.Background(), h.cfg); !fault.Is(err, fault.Busy) {
		t.Errorf("second agent: got %v, want Busy", err)
	}
}

func TestNewSubnetAppliesWithoutContainers(t *testing.T) {
	h := newHost(t)
	a := h.run()
	sb := a.container()
	a.stop()
	h.cfg.Bip = netip.MustParsePrefix("192.168.10.1/24")
	a = h.run()
	h.mustReach(h.ns.Path(), "172.17.0.2") // the former subnet stays in use
	a.release(sb)
	a.stop()
	a = h.run()
	if got := h.address(a.container()); got != "192.168.10.2" {
		t.Errorf("got address %s", got)
	}

	puts := h.guard.Puts()
	if got := puts[len(puts)-1].GetSubnets()[0]; got != "192.168.10.0/24" {
		t.Errorf("got firewall subnet %s", got)
	}
}

// The agent was killed after it created a veth pair and before it set the alias. The stale pair would
// block the name of the container's next interface.
func TestPairWithoutAliasIsSwept(t *testing.T) {
	h := newHost(t)
	a := h.run()
	n := a.newNetwork("n1")
	sb := a.container()
	uid := id.New()
	name, mac := endpoint.HostInterface(uid), endpoint.HostMAC(uid).String()
	h.ns.Run("ip", "link", "add", name, "address", mac, "type", "veth", "peer", "name", "eth1", "netns", sb.NetnsPath)
	h.ns.Run("ip", "link", "set", name, "master", n.Bridge().Device)
	h.ns.Run("ip", "link", "add", "veth1234567", "type", "veth", "peer", "name", "other") // a foreign pair
	h.ns.Run("ip", "link", "set", "veth1234567", "master", n.Bridge().Device)
	a.stop()

	b := h.run()
	if out, err := h.ns.Try("ip", "link", "show", name); err == nil {
		t.Errorf("the stale pair was not deleted: %s", out)
	}

	h.ns.Run("ip", "link", "show", "veth1234567")
	if after := b.connect(sb, endpoint.Spec{Network: "n1"}); after.Endpoints[1].Interface != "eth1" {
		t.Errorf("got endpoint %+v", after.Endpoints[1])
	}
}
