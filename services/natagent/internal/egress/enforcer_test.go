package egress_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
)

func TestPolicies(t *testing.T) {
	w := newWorld(t)
	const nat64 = "[64:ff9b::a9fe:a9fe]:80" // 169.254.169.254, as a gateway translates it
	w.web.Run("ip", "addr", "add", "64:ff9b::a9fe:a9fe/128", "dev", "lo")
	w.host.Run("ip", "route", "add", "64:ff9b::/96", "via", web6)
	w.check("no policy", "+"+web4+":80", "+["+web6+"]:80", "+10.9.0.3:80", "+10.9.0.1:80", "+169.254.169.254:80",
		"+"+nat64)
	for _, c := range []struct {
		rules string
		want  []string
	}{
		{"none", []string{web4 + ":80", "[" + web6 + "]:80", "10.9.0.3:80", "[fd09::3]:80", "10.9.0.1:80",
			"169.254.169.254:80"}},
		{"internet", []string{"+" + web4 + ":80", "+[2001:db8:1::2]:443", "10.9.0.3:80", "[fd09::3]:80", "10.9.0.1:80",
			"169.254.169.254:80", nat64, "+" + web4 + ":53"}},
		{"lan", []string{web4 + ":80", "+10.9.0.3:80", "+[fd09::3]:80", "10.9.0.1:80", "169.254.169.254:80", nat64}},
		{"host:80", []string{web4 + ":80", "10.9.0.3:80", "+10.9.0.1:80", "10.9.0.1:443", "+[fd09::1]:80"}},
		{"metadata", []string{web4 + ":80", "+169.254.169.254:80", "+" + nat64}},
		{"all", []string{"+" + web4 + ":80", "+10.9.0.3:80", "+10.9.0.1:80", "+169.254.169.254:80"}},
		{"all,!198.51.100.0/24:443", []string{"+" + web4 + ":80", web4 + ":443", "+10.9.0.3:443"}},
		{"all,!all:443/tcp", []string{"+" + web4 + ":80", web4 + ":443", "[fd09::3]:443", "10.9.0.1:443"}},
		{"198.51.100.2:80-443/tcp,10.9.0.0/24:443", []string{"+" + web4 + ":80", "+" + web4 + ":443", web4 + ":53",
			"10.9.0.3:80", "+10.9.0.3:443"}},
		{"[2001:db8:1::/64]", []string{"+[" + web6 + "]:80", web4 + ":80"}},
		{"10.9.0.0/25,10.9.0.3,10.9.0.128/25:80", []string{"+10.9.0.3:80", "+10.9.0.3:443"}},
		{"internet,!198.51.100.2", []string{web4 + ":80", "+[" + web6 + "]:80"}},
		{"a.test", []string{web4 + ":80", web4 + ":53"}},
		{"internet,a.test", []string{"+" + web4 + ":80", web4 + ":53"}},
		{"observe", []string{"+" + web4 + ":80", "+10.9.0.3:80"}},
	} {
		w.put(strings.Split(c.rules, ",")...)
		w.check(c.rules, c.want...)
		if got := w.connect(w.b, "10.9.0.2:80"); got != "" {
			t.Errorf("%s: b to a: %s", c.rules, got)
		}
		if got := w.connect(w.b, web4+":80"); got != "" {
			t.Errorf("%s: b, without a policy: %s", c.rules, got)
		}
	}

	if err := w.enforcer.Release(context.Background(), owner); err != nil {
		t.Fatal(err)
	}
	w.check("released", "+"+web4+":80", "+10.9.0.3:80", "+169.254.169.254:80")
	if text := w.host.Run("nft", "list", "table", "inet", rules.TableName); strings.Contains(text, owner[:12]) ||
		strings.Contains(text, "peer_") {
		t.Errorf("left in the kernel:\n%s", text)
	}
}

func TestLearnedAddresses(t *testing.T) {
	w := newWorld(t)
	w.put("*.a.test:80/any-name", "b.test/any-name")
	w.check("before the answer", web4+":80", "["+web6+"]:80")
	learn := func(name string, addresses ...string) {
		t.Helper()
		var all []netip.Addr
		for _, a := range addresses {
			all = append(all, netip.MustParseAddr(a))
		}
		if _, err := w.enforcer.Learn(context.Background(), owner, answer(name, all, time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	learn("other.test.", web4)
	w.check("another name", web4+":80")
	learn("X.a.test.", web4)
	w.check("after the answer", "+"+web4+":80", web4+":443", "["+web6+"]:80")
	learn("b.test", web6, web4)
	w.check("second name", "+"+web4+":443", "+["+web6+"]:80", "["+web6+"]:53")

	// other ports of a name, and one that was not asked for
	w.put("*.a.test:80/any-name", "b.test:443/any-name", "a.test")
	w.check("other ports", "+"+web4+":443", "+["+web6+"]:443", "["+web6+"]:80", web4+":53")
	w.put("*.a.test:80", "b.test")

	w.start() // a new process
	w.check("after a restart", "+"+web4+":80", "+["+web6+"]:80")
	w.put("*.a.test:80/any-name") // b.test is not allowed any more
	w.check("after a change", "+"+web4+":80", web4+":443", "["+web6+"]:80")
}

func TestChangeCutsConnections(t *testing.T) {
	w := newWorld(t)
	w.put("internet")
	c, err := w.a.Dial("tcp", web4+":80", 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	incoming, err := w.b.Dial("tcp", "10.9.0.2:80", 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer incoming.Close()

	exchange := func(c net.Conn) error {
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		_, err := c.Read(make([]byte, 1))
		return err
	}
	if err := errors.Join(exchange(c), exchange(incoming)); err != nil {
		t.Fatal(err)
	}

	w.put("internet:443")
	if err := exchange(c); err == nil {
		t.Error("a connection that is not allowed any more continues")
	}
	if err := exchange(incoming); err != nil {
		t.Errorf("an incoming connection ended: %v", err)
	}
}

// TestStartEndsEarlierConnections checks connections of an earlier owner of the address: all are ended, also
// those that the rules allow.
func TestStartEndsEarlierConnections(t *testing.T) {
	w := newWorld(t)
	w.put("internet")
	c, err := w.a.Dial("udp", web4+":9", 3*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	entries := func() bool {
		list, _ := w.host.Try("conntrack", "-L", "-p", "udp", "-s", "10.9.0.2")
		return strings.Contains(list, "dport=9")
	}
	for end := time.Now().Add(time.Minute); !entries() && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
		_, _ = c.Write([]byte("x")) // refused once the first one arrived
	}
	w.put("internet", "10.9.0.3")
	if !entries() {
		t.Error("a connection that the rules allow was ended")
	}
	next := &plan.Container{Owner: owner, Rules: []string{"all"}, Endpoints: []plan.Endpoint{w.endpoint}}
	if err := w.enforcer.Put(context.Background(), next, true); err != nil {
		t.Fatal(err)
	}
	if entries() {
		t.Error("a connection of an earlier owner continues")
	}
}

func TestSyncRestores(t *testing.T) {
	w := newWorld(t)
	w.put("a.test", "10.9.0.3:80")
	if _, err := w.enforcer.Learn(context.Background(), owner, answer("a.test",
		[]netip.Addr{netip.MustParseAddr(web4)}, time.Hour)); err != nil {
		t.Fatal(err)
	}
	before := w.host.Run("nft", "list", "table", "inet", rules.TableName)
	if err := w.enforcer.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	if after := w.host.Run("nft", "-a", "list", "table", "inet", rules.TableName); !strings.Contains(after,
		"handle") ||
		w.host.Run("nft", "list", "table", "inet", rules.TableName) != before && !strings.Contains(before, "expires") {
		t.Error("Sync changed tables that were right")
	}

	_ = w.enforcer.Close() // releases the ownership, so that other programs can change the tables
	w.host.Run("sh", "-c", "nft delete table inet fairlead-egress; nft delete table bridge fairlead-egress")
	w.check("without tables", "+10.9.0.3:443")
	w.start()
	w.check("restored", "+10.9.0.3:80", "10.9.0.3:443")
}

// TestAnySourceAddress checks that the policy applies to addresses that netagent has not assigned, such as the
// link-local one that the kernel of a container makes itself.
func TestAnySourceAddress(t *testing.T) {
	w := newWorld(t)
	linkLocal := strings.Fields(w.host.Run("ip", "-6", "-br", "addr", "show", "dev", "br0", "scope", "link"))
	if len(linkLocal) < 3 {
		t.Fatalf("bridge without a link-local address: %v", linkLocal)
	}
	host, _, _ := strings.Cut(linkLocal[2], "/")
	hostAddr := "[" + host + "%eth0]:80"

	w.check("no policy", "+"+hostAddr)
	w.put("none")
	if c, err := w.a.Dial("tcp", hostAddr, time.Second); err == nil { // the kernel has no route for the rejection
		_ = c.Close()
		t.Error("link-local source: a reaches the host")
	}
	w.a.Run("sh", "-ec", "ip -4 addr flush dev eth0; ip addr add 10.9.0.77/24 dev eth0; "+
		"ip route add default via 10.9.0.1")
	w.check("another source", web4+":80", "10.9.0.1:80", "10.9.0.3:80")
}

// TestBridgeNetfilter checks traffic within a bridge in both settings of the host.
func TestBridgeNetfilter(t *testing.T) {
	w := newWorld(t)
	for _, on := range []bool{false, true} {
		w.bridgeNetfilter(on)
		w.put("10.9.0.3:80,[fd09::/64]:443")
		w.check(fmt.Sprint("bridge netfilter ", on), "+10.9.0.3:80", "10.9.0.3:443", "[fd09::3]:80", "+[fd09::3]:443")
		w.put("none")
		if got := w.connect(w.b, "10.9.0.2:80") + w.connect(w.b, "[fd09::2]:80"); got != "" {
			t.Errorf("bridge netfilter %v: b to a: %s", on, got)
		}
	}
}

func TestRefusalsAreRecorded(t *testing.T) {
	w := newWorld(t)
	w.put("a.test:80", "!10.9.0.3")
	if _, err := w.enforcer.Learn(context.Background(), owner, answer("a.test.",
		[]netip.Addr{netip.MustParseAddr(web4)}, time.Hour)); err != nil {
		t.Fatal(err)
	}
	w.check("", web4+":443", "10.9.0.3:80", "["+web6+"]:53", "169.254.169.254:80")
	_ = w.enforcer.RecordName(context.Background(), owner, "evil.test", 0)

	want := []string{"policy tcp 198.51.100.2 443 a.test", "rule tcp 10.9.0.3 80 ", "dns tcp 2001:db8:1::2 53 ",
		"metadata tcp 169.254.169.254 80 ", "name  invalid IP 0 evil.test"}
	text := w.refusals(len(want))
	for _, line := range want {
		if !strings.Contains(text, line) {
			t.Errorf("no record %q in:\n%s", line, text)
		}
	}
	if n := w.enforcer.Refused(owner); n != 4 {
		t.Errorf("%d packets refused, want 4", n)
	}

	w.start()
	if again := w.refusals(len(want)); again != text {
		t.Errorf("after a restart:\n%s\nbefore:\n%s", again, text)
	}
}

func TestObserve(t *testing.T) {
	w := newWorld(t)
	w.put("observe")
	for _, name := range []string{"a.test", "b.test"} { // it can be for either
		if _, err := w.enforcer.Learn(context.Background(), owner, answer(name,
			[]netip.Addr{netip.MustParseAddr(web4)}, time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	w.check("observe", "+"+web4+":443", "+10.9.0.3:80")
	if text := w.refusals(3); !strings.Contains(text, "box observe tcp 198.51.100.2 443 a.test") ||
		!strings.Contains(text, "box observe tcp 198.51.100.2 443 b.test") ||
		!strings.Contains(text, "box observe tcp 10.9.0.3 80") {
		t.Errorf("recorded:\n%s", text)
	}
}

func TestBadPolicies(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]*plan.Container{
		"owner": {Owner: "x", Rules: []string{"none"}},
		"rules": {Owner: owner, Rules: []string{"*"}, Endpoints: []plan.Endpoint{w.endpoint}},
		"mac": {Owner: owner, Rules: []string{"none"}, Endpoints: []plan.Endpoint{{NetworkID: networkID,
			MAC: "x"}}},
		"address": {Owner: owner, Rules: []string{"none"}, Endpoints: []plan.Endpoint{{NetworkID: networkID,
			MAC: macA, Addresses: make([]netip.Addr, 1)}}},
		"network": {Owner: owner, Rules: []string{"none"}, Endpoints: []plan.Endpoint{{NetworkID: owner, MAC: macA,
			Addresses: w.endpoint.Addresses}}},
	} {
		if err := w.enforcer.Put(context.Background(), c, false); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := w.enforcer.Learn(context.Background(), owner, answer("a.test", nil, 0)); err == nil {
		t.Error("learned for a container without a policy")
	}
	w.check("nothing is left", "+"+web4+":80")
}

// TestPutTogether checks policies that are put at the same time: all are in force, and one that is not valid
// fails alone.
func TestPutTogether(t *testing.T) {
	w := newWorld(t)
	w.put("none")
	var all errgroup.Group
	for i := range 40 {
		c := &plan.Container{Owner: fmt.Sprintf("%012x%052x", i+1, 0), Name: fmt.Sprint("c", i),
			Rules: []string{"!10.9.0.3", "a.test", "all"}, Endpoints: []plan.Endpoint{{NetworkID: networkID,
				MAC:       fmt.Sprintf("02:00:00:00:01:%02x", i),
				Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 9, 1, byte(i)})}}}}
		fails := i%10 == 5
		if fails {
			c.Endpoints[0].NetworkID = owner
		}
		all.Go(func() error {
			if err := w.enforcer.Put(context.Background(), c, false); (err != nil) != fails {
				return fmt.Errorf("%s: got %v, want an error: %v", c.Name, err, fails)
			}
			return nil
		})
	}
	all.Go(func() error {
		next := &plan.Container{Owner: owner, Name: "box", Rules: []string{"10.9.0.3"},
			Endpoints: []plan.Endpoint{w.endpoint}}
		return w.enforcer.Put(context.Background(), next, false)
	})
	if err := all.Wait(); err != nil {
		t.Error(err)
	}

	w.check("together", "+10.9.0.3:80", web4+":80")
	if n := len(w.store.Policies()); n != 37 {
		t.Errorf("%d policies stored, want 37", n)
	}
	if err := w.enforcer.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	counts, err := w.enforcer.Counts()
	if err != nil || counts.Policies != 37 || counts.Restores != 0 {
		t.Errorf("got %d policies, %d restores and %v, want 37 and 0", counts.Policies, counts.Restores, err)
	}
}
