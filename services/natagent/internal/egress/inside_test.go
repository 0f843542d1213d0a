package egress_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sync/errgroup"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nflink"
)

// newLAN returns a world in which container a is on a LAN without a bridge of the host, as with macvlan: the LAN has
// the host 10.7.0.9, and the server web with 10.7.0.3 and its public addresses.
func newLAN(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, host: testns.New(t), a: testns.New(t), web: testns.New(t),
		store: &records{all: map[string]*plan.Container{}}, dir: t.TempDir()}
	lan := testns.New(t)
	lan.Run("sh", "-ec", "ip link add br0 type bridge; ip link set br0 up")
	for name, n := range map[string]struct {
		ns        *testns.NS
		addresses string
	}{"va": {w.a, "10.7.0.2/24 fd07::2/64"}, "vhost": {w.host, "10.7.0.9/24 fd07::9/64"},
		"vweb": {w.web, "10.7.0.3/24 fd07::3/64 " + web4 + "/32 " + web6 + "/128"}} {
		testns.Connect(t, lan, name, "", n.ns, "eth0", n.addresses)
		lan.Run("ip", "link", "set", name, "master", "br0")
		n.ns.Run("ip", "link", "set", "lo", "up")
	}
	w.a.Run("sh", "-ec", "ip route add default via 10.7.0.3; ip -6 route add default via fd07::3")
	for _, n := range []*testns.NS{w.web, w.host, w.a} {
		for _, port := range []string{"80", "443", "53"} {
			w.serve(n, port)
		}
	}
	w.endpoint = plan.Endpoint{NetworkID: networkID, Inside: true, Interface: "eth0",
		Addresses: []netip.Addr{netip.MustParseAddr("10.7.0.2"), netip.MustParseAddr("fd07::2")}}
	w.start()
	return w
}

func TestPolicyInNamespaceOfContainer(t *testing.T) {
	w := newLAN(t)
	w.check("without a policy", "+"+web4+":80", "+10.7.0.9:80")
	w.put("none")
	w.check("none", web4+":80", "["+web6+"]:80", "10.7.0.9:80", "+127.0.0.1:80", "+10.7.0.2:80")
	if got := w.refusals(3); !strings.Contains(got, "box policy tcp "+web4+" 80") {
		t.Errorf("records: got %q", got)
	}
	if n := w.enforcer.Refused(owner); n < 3 {
		t.Errorf("refused packets: got %d, want 3 or more", n)
	}
	w.put(web4+":80", web6)
	w.check("addresses", "+"+web4+":80", web4+":443", "+["+web6+"]:443", "10.7.0.3:80")
	w.put("lan")
	w.check("lan", "+10.7.0.3:80", "+[fd07::3]:80", "10.7.0.9:80", "[fd07::9]:80", web4+":80")
	w.put("host")
	w.check("host", "10.7.0.3:80", "+10.7.0.9:80", "+[fd07::9]:80", web4+":80")
	w.put("internet")
	w.check("internet", "10.7.0.3:80", "10.7.0.9:80", "+"+web4+":80")

	w.putPeers([]string{"container:db", "10.7.0.3/32"})
	w.put("container:db:80")
	w.check("peer", "+10.7.0.3:80", "10.7.0.3:443")
	w.putPeers([]string{"container:db", "198.51.100.2/32"})
	w.check("peer with another address", "10.7.0.3:80", "+"+web4+":80")

	w.putIngress(nil, []string{"10.7.0.9"})
	if got := w.connect(w.host, "10.7.0.2:80"); got != "" {
		t.Errorf("allowed source: got %q", got)
	}
	if got := w.connect(w.web, "10.7.0.2:80"); got != "refused" {
		t.Errorf("other source: got %q, want refused", got)
	}
	w.check("ingress rules only", "+"+web4+":80")

	w.endpoint.Addresses = nil // as before it is connected, and after the container ended
	w.put("all")
	if got := w.connectWithin(w.a, web4+":80", time.Second); got == "" {
		t.Error("an interface whose policy is not in force has a connection")
	}
	if err := w.enforcer.Release(context.Background(), owner); err != nil {
		t.Fatal(err)
	}
	w.check("released", "+"+web4+":80")
}

// connectWithin is connect with a limit.
func (w *world) connectWithin(from *testns.NS, to string, limit time.Duration) string {
	c, err := from.Dial("tcp", to, limit)
	if err != nil {
		return err.Error()
	}
	_ = c.Close()
	return ""
}

func TestPolicyInNamespaceWithNames(t *testing.T) {
	w := newLAN(t)
	c := &plan.Container{Owner: owner, Name: "box", Rules: []string{"web.example:443"},
		Endpoints: []plan.Endpoint{w.endpoint}}
	err := w.enforcer.Put(context.Background(), c, true)
	if err == nil || !strings.Contains(err.Error(), "cannot be checked on macvlan and ipvlan networks") {
		t.Errorf("names of servers: got %v", err)
	}
	w.put("web.example:443/any-name")
	w.check("not resolved", web4+":443")
	learn := func() {
		t.Helper()
		_, err := w.enforcer.Learn(context.Background(), owner, answer("web.example",
			[]netip.Addr{netip.MustParseAddr(web4)}, time.Minute))
		if err != nil {
			t.Fatal(err)
		}
	}
	learn()
	w.check("resolved", "+"+web4+":443", web4+":80", web4+":53")

	kept := w.dial(web4 + ":443")
	w.stop()
	w.check("without natagent", "+"+web4+":443", web4+":80")
	kept("while natagent is away", true)
	w.away.Store(true) // netagent starts later
	w.start()
	w.check("restarted", "+"+web4+":443", web4+":80")
	if _, err := w.enforcer.Learn(context.Background(), owner, answer("web.example",
		[]netip.Addr{netip.MustParseAddr(web6)},
		time.Minute)); err == nil {
		t.Error("an answer was opened that the kernel does not have")
	}
	w.away.Store(false)
	if err := w.enforcer.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	learn()
	kept("after a restart", true)
	w.check("synced", "+"+web4+":443", web4+":80")

	w.a.Run("nft", "delete", "table", "inet", "fairlead-egress")
	for end := time.Now().Add(time.Minute); w.connect(w.a, web4+":80") == "" && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	w.check("restored", "+"+web4+":443", web4+":80")
	w.put("web.example:443/any-name", "10.7.0.3")
	kept("after a change that still allows it", true)
	w.put("10.7.0.3")
	kept("after a change that does not allow it", false)
}

// A change that cannot be written leaves the policy before in force, also for Sync and for answers.
func TestPolicyInNamespaceThatFails(t *testing.T) {
	w := newLAN(t)
	w.host.Run("sh", "-ec", "ip link add br0 type bridge; ip link set br0 up")
	ctx := context.Background()
	taken := plan.Endpoint{NetworkID: networkID, MAC: macA, Addresses: []netip.Addr{netip.MustParseAddr("10.9.0.4")}}
	if err := w.enforcer.Put(ctx, &plan.Container{Owner: strings.Repeat("b", 64), Name: "other",
		Rules: []string{"none"}, Endpoints: []plan.Endpoint{taken}}, false); err != nil {
		t.Fatal(err)
	}
	fails := func(when string, endpoints ...plan.Endpoint) {
		t.Helper()
		if err := w.enforcer.Put(ctx, &plan.Container{Owner: owner, Name: "box", Rules: []string{"none"},
			Endpoints: endpoints}, false); err == nil {
			t.Errorf("%s: got no error", when)
		}
	}
	taken.Addresses = []netip.Addr{netip.MustParseAddr("10.9.0.5")}

	fails("the first policy", w.endpoint, taken) // two chains for one MAC address
	w.check("after the first policy", "+"+web4+":80")
	w.put(web4+":80", "web.example:443/any-name")
	fails("another policy", w.endpoint, taken)
	if err := w.enforcer.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	w.check("synced", "+"+web4+":80", web4+":443")

	w.away.Store(true)
	fails("without netagent", w.endpoint)
	w.away.Store(false)
	if _, err := w.enforcer.Learn(ctx, owner, answer("web.example", []netip.Addr{netip.MustParseAddr(web4)},
		time.Minute)); err != nil {
		t.Errorf("an answer for the policy before: %v", err)
	}
	w.check("without netagent", "+"+web4+":80", "+"+web4+":443", web4+":53")
	if c, ok := w.store.Policy(owner); !ok || len(c.Rules) != 2 {
		t.Errorf("stored: got %+v", c)
	}
}

// Connections that rules no longer allow are deleted even if the rules in the namespace cannot be written.
func TestPeersInNamespaceThatFail(t *testing.T) {
	w := newLAN(t)
	w.putPeers([]string{"container:db", "10.7.0.3/32"})
	w.put("container:db:80")
	kept := w.dial("10.7.0.3:80")
	kept("allowed", true)

	socket, err := w.namespace(t.Context(), owner)
	if err != nil {
		t.Fatal(err)
	}
	link, err := nflink.OpenOn(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = link.Close() })
	table := &nftables.Table{Name: "fairlead-egress", Family: nftables.TableFamilyINet}
	link.DelTable(table)
	owned := *table
	owned.Flags = nftables.TableFlagOwner
	link.AddTable(&owned)
	w.a.Run("nft", "add table inet guard; add chain inet guard out { type filter hook output priority 0; }; "+
		"add rule inet guard out tcp dport 80 ct state new reject with tcp reset")
	if err := link.Flush(); err != nil {
		t.Fatal(err)
	}
	kept("with a table of another program", true)

	if err := w.enforcer.PutPeers(t.Context(), []plan.Peer{{Name: "container:db"}}, false); err == nil {
		t.Error("got no error of the namespace")
	}
	kept("no longer allowed", false)
}

// dial opens a connection of a and returns a function that checks whether it still works.
func (w *world) dial(to string) func(when string, works bool) {
	w.t.Helper()
	c, err := w.a.Dial("tcp", to, time.Minute)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return func(when string, works bool) {
		w.t.Helper()
		if err := exchangeOn(c); (err == nil) != works {
			w.t.Errorf("%s: connection to %s: got %v, want it to work: %t", when, to, err, works)
		}
	}
}

func exchangeOn(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	_, err := c.Write([]byte("x"))
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	return err
}

// Policies that wait are written together, but not those in namespaces.
func TestPoliciesInNamespacesAreWrittenAlone(t *testing.T) {
	w := newLAN(t)
	for round := range 5 {
		w.put("all")
		w.check("all", "+"+web4+":80")
		var all errgroup.Group
		for i := range 16 {
			c := &plan.Container{Owner: fmt.Sprintf("%012x%052x", i+1, 0), Name: fmt.Sprint("c", i),
				Rules: []string{fmt.Sprintf("10.9.%d.1", round)}, Endpoints: []plan.Endpoint{{
					NetworkID: networkID, MAC: fmt.Sprintf("02:00:00:00:01:%02x", i)}}} // not connected yet
			if i == 8 {
				c = &plan.Container{Owner: owner, Name: "box", Rules: []string{"none"},
					Endpoints: []plan.Endpoint{w.endpoint}}
			}
			all.Go(func() error { return w.enforcer.Put(context.Background(), c, false) })
		}
		if err := all.Wait(); err != nil {
			t.Fatal(err)
		}
		w.check("none", web4+":80")
	}
}
