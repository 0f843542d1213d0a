package egress_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// records is a store in memory.
type records struct {
	mu  sync.Mutex
	all map[string]*egress.Container
}

func (r *records) Policies() (all []*egress.Container) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.all {
		all = append(all, c)
	}
	return all
}

func (r *records) Policy(owner string) (*egress.Container, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.all[owner]
	return c, ok
}

func (r *records) PutPolicy(c *egress.Container) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[c.Owner] = c
	return nil
}

func (r *records) DeletePolicy(owner string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, owner)
	return nil
}

func (r *records) Bridge(network string) (string, bool) { return "br0", network == networkID }

// Addresses of the world.
const (
	networkID = "00000000000000000000000000000000000000000000000000000000000000aa"
	owner     = "00000000000000000000000000000000000000000000000000000000000000a1"
	macA      = "02:00:00:00:00:0a"
	web4      = "198.51.100.2" // a public address
	web6      = "2001:db8:1::2"
)

// world is a host with a bridge, containers a and b on it, and a server with a public address.
type world struct {
	t          *testing.T
	host, a, b *testns.NS
	web        *testns.NS
	store      *records
	enforcer   *egress.Enforcer
	endpoint   egress.Endpoint
	dir        string // of the journal
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, host: testns.New(t), a: testns.New(t), b: testns.New(t), web: testns.New(t),
		store: &records{all: map[string]*egress.Container{}}, dir: t.TempDir()}
	w.host.Run("sh", "-ec", `ip link add br0 address 02:00:00:00:00:01 type bridge; ip link set br0 up
		ip addr add 10.9.0.1/24 dev br0; ip -6 addr add fd09::1/64 dev br0 nodad
		sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.accept_dad=0`)
	w.container(w.a, "va", "10.9.0.2/24 fd09::2/64", macA)
	w.container(w.b, "vb", "10.9.0.3/24 fd09::3/64", "02:00:00:00:00:0b")
	testns.Connect(t, w.host, "out", "198.51.100.1/24 2001:db8:1::1/64", w.web, "eth0", web4+"/24 "+web6+"/64")
	w.web.Run("sh", "-c", "ip route add default via 198.51.100.1; ip -6 route add default via 2001:db8:1::1; "+
		"ip addr add 169.254.169.254/32 dev lo")
	w.host.Run("ip", "route", "add", "169.254.169.254/32", "via", web4)
	for _, n := range []*testns.NS{w.web, w.b, w.host, w.a} {
		for _, port := range []string{"80", "443", "53"} {
			w.serve(n, port)
		}
	}
	w.bridgeNetfilter(false)
	w.endpoint = egress.Endpoint{NetworkID: networkID, MAC: macA,
		Addresses: []netip.Addr{netip.MustParseAddr("10.9.0.2"), netip.MustParseAddr("fd09::2")}}
	w.start()
	return w
}

// bridgeNetfilter sets whether bridged packets also pass the host's rules for IP. Other programs can
// need that.
func (w *world) bridgeNetfilter(on bool) {
	w.t.Helper()
	for _, name := range []string{"iptables", "ip6tables"} {
		value := "0"
		if on {
			value = "1"
		}
		w.host.Run("sysctl", "-qw", "net.bridge.bridge-nf-call-"+name+"="+value)
	}
}

// container connects a namespace to the bridge.
func (w *world) container(n *testns.NS, port, addresses, mac string) {
	w.t.Helper()
	testns.Connect(w.t, w.host, port, "", n, "eth0", "")
	w.host.Run("ip", "link", "set", port, "master", "br0")
	n.Run("sh", "-ec", fmt.Sprintf(`ip link set eth0 address %s up
		for a in %s; do case $a in *:*) ip addr add $a dev eth0 nodad;; *) ip addr add $a dev eth0;; esac; done
		ip route add default via 10.9.0.1; ip -6 route add default via fd09::1`, mac, addresses))
}

// serve echoes on TCP connections to a port.
func (w *world) serve(n *testns.NS, port string) {
	w.t.Helper()
	var l net.Listener
	var err error
	n.Do(func() { l, err = net.Listen("tcp", ":"+port) })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); _, _ = io.Copy(c, c) }()
		}
	}()
}

// start starts a process of natagent.
func (w *world) start() {
	w.t.Helper()
	if w.enforcer != nil {
		_ = w.enforcer.Close()
	}
	ns := hostns.At(w.host.Fd())
	journal, err := egress.OpenJournal(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	w.enforcer = egress.New(ns, w.store, conntrack.New(ns), journal, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { w.enforcer.Run(ctx) })
	w.t.Cleanup(func() { stop(); running.Wait(); _ = w.enforcer.Close() })
	if err := w.enforcer.Sync(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) put(rules ...string) {
	w.t.Helper()
	c := &egress.Container{Owner: owner, Name: "box", Rules: rules, Endpoints: []egress.Endpoint{w.endpoint}}
	if err := w.enforcer.Put(context.Background(), c); err != nil {
		w.t.Fatal(err)
	}
}

// connect returns "" if a connection works, "refused" if it is rejected, else the error.
func (w *world) connect(from *testns.NS, to string) string {
	w.t.Helper()
	c, err := from.Dial("tcp", to, 3*time.Second)
	switch {
	case err == nil:
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(3 * time.Second))
		if _, err = c.Write([]byte("x")); err == nil {
			_, err = c.Read(make([]byte, 1))
		}
		if err == nil {
			return ""
		}
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EHOSTUNREACH):
		return "refused"
	}
	return err.Error()
}

// check checks which destinations a reaches: "+" before those that must work.
func (w *world) check(when string, list ...string) {
	w.t.Helper()
	for _, to := range list {
		addr, open := strings.CutPrefix(to, "+")
		want := "refused"
		if open {
			want = ""
		}
		if got := w.connect(w.a, addr); got != want {
			w.t.Errorf("%s: a to %s: got %q, want %q", when, addr, got, want)
		}
	}
}

func TestPolicies(t *testing.T) {
	w := newWorld(t)
	w.check("no policy", "+"+web4+":80", "+["+web6+"]:80", "+10.9.0.3:80", "+10.9.0.1:80", "+169.254.169.254:80")
	for _, c := range []struct {
		rules string
		want  []string
	}{
		{"none", []string{web4 + ":80", "[" + web6 + "]:80", "10.9.0.3:80", "[fd09::3]:80", "10.9.0.1:80",
			"169.254.169.254:80"}},
		{"internet", []string{"+" + web4 + ":80", "+[2001:db8:1::2]:443", "10.9.0.3:80", "[fd09::3]:80", "10.9.0.1:80",
			"169.254.169.254:80", "+" + web4 + ":53"}},
		{"lan", []string{web4 + ":80", "+10.9.0.3:80", "+[fd09::3]:80", "10.9.0.1:80", "169.254.169.254:80"}},
		{"host:80", []string{web4 + ":80", "10.9.0.3:80", "+10.9.0.1:80", "10.9.0.1:443", "+[fd09::1]:80"}},
		{"metadata", []string{web4 + ":80", "+169.254.169.254:80"}},
		{"all", []string{"+" + web4 + ":80", "+10.9.0.3:80", "+10.9.0.1:80", "+169.254.169.254:80"}},
		{"all,!198.51.100.0/24:443", []string{"+" + web4 + ":80", web4 + ":443", "+10.9.0.3:443"}},
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
	if text := w.host.Run("nft", "list", "table", "inet", egress.TableName); strings.Contains(text, owner[:12]) {
		t.Errorf("left in the kernel:\n%s", text)
	}
}

func TestLearnedAddresses(t *testing.T) {
	w := newWorld(t)
	w.put("*.a.test:80", "b.test")
	w.check("before the answer", web4+":80", "["+web6+"]:80")
	learn := func(name string, addresses ...string) {
		t.Helper()
		var all []netip.Addr
		for _, a := range addresses {
			all = append(all, netip.MustParseAddr(a))
		}
		if err := w.enforcer.Learn(context.Background(), owner, name, all, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	learn("other.test.", web4)
	w.check("another name", web4+":80")
	learn("X.a.test.", web4)
	w.check("after the answer", "+"+web4+":80", web4+":443", "["+web6+"]:80")
	learn("b.test", web6, web4)
	w.check("second name", "+"+web4+":443", "+["+web6+"]:80", "["+web6+"]:53")

	w.start() // a new process
	w.check("after a restart", "+"+web4+":80", "+["+web6+"]:80")
	w.put("*.a.test:80") // b.test is not allowed any more
	w.check("after a change", "+"+web4+":80", web4+":443", "["+web6+"]:80")
}

func TestChangeCutsConnections(t *testing.T) {
	w := newWorld(t)
	w.put("internet")
	c, err := w.a.Dial("tcp", web4+":80", 3*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	incoming, err := w.b.Dial("tcp", "10.9.0.2:80", 3*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer incoming.Close()

	exchange := func(c net.Conn) error {
		_ = c.SetDeadline(time.Now().Add(2 * time.Second))
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

func TestSyncRestores(t *testing.T) {
	w := newWorld(t)
	w.put("a.test", "10.9.0.3:80")
	if err := w.enforcer.Learn(context.Background(), owner, "a.test", []netip.Addr{netip.MustParseAddr(web4)},
		time.Hour); err != nil {
		t.Fatal(err)
	}
	before := w.host.Run("nft", "list", "table", "inet", egress.TableName)
	if err := w.enforcer.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	if after := w.host.Run("nft", "-a", "list", "table", "inet", egress.TableName); !strings.Contains(after,
		"handle") ||
		w.host.Run("nft", "list", "table", "inet", egress.TableName) != before && !strings.Contains(before, "expires") {
		t.Error("Sync changed tables that were right")
	}

	_ = w.enforcer.Close() // releases the ownership, so that other programs can change the tables
	w.host.Run("sh", "-c", "nft delete table inet fairlead-egress; nft delete table bridge fairlead-egress")
	w.check("without tables", "+10.9.0.3:443")
	w.start()
	w.check("restored", "+10.9.0.3:80", "10.9.0.3:443")
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
	if err := w.enforcer.Learn(context.Background(), owner, "a.test.", []netip.Addr{netip.MustParseAddr(web4)},
		time.Hour); err != nil {
		t.Fatal(err)
	}
	w.check("", web4+":443", "10.9.0.3:80", "["+web6+"]:53", "169.254.169.254:80")
	_ = w.enforcer.RecordName(context.Background(), owner, "evil.test")

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

// refusals returns the records once there are n.
func (w *world) refusals(n int) string {
	w.t.Helper()
	var text strings.Builder
	for end := time.Now().Add(10 * time.Second); ; {
		found, _, more := w.enforcer.Since(time.Time{})
		if len(found) < n && time.Now().Before(end) {
			select {
			case <-more:
			case <-time.After(time.Until(end)):
			}
			continue
		}
		for _, r := range found {
			fmt.Fprintln(&text, r.Name, r.Reason, r.Protocol, r.Address, r.Port, r.Domain)
		}
		return text.String()
	}
}

func TestObserve(t *testing.T) {
	w := newWorld(t)
	w.put("observe")
	w.check("observe", "+"+web4+":443", "+10.9.0.3:80")
	if text := w.refusals(2); !strings.Contains(text, "box observe tcp 198.51.100.2 443") ||
		!strings.Contains(text, "box observe tcp 10.9.0.3 80") {
		t.Errorf("recorded:\n%s", text)
	}
}

func TestBadPolicies(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]*egress.Container{
		"owner": {Owner: "x", Rules: []string{"none"}},
		"rules": {Owner: owner, Rules: []string{"*"}, Endpoints: []egress.Endpoint{w.endpoint}},
		"mac": {Owner: owner, Rules: []string{"none"}, Endpoints: []egress.Endpoint{{NetworkID: networkID,
			MAC: "x"}}},
		"address": {Owner: owner, Rules: []string{"none"}, Endpoints: []egress.Endpoint{{NetworkID: networkID,
			MAC: macA}}},
		"network": {Owner: owner, Rules: []string{"none"}, Endpoints: []egress.Endpoint{{NetworkID: owner, MAC: macA,
			Addresses: w.endpoint.Addresses}}},
	} {
		if err := w.enforcer.Put(context.Background(), c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := w.enforcer.Learn(context.Background(), owner, "a.test", nil, 0); err == nil {
		t.Error("learned for a container without a policy")
	}
	w.check("nothing is left", "+"+web4+":80")
}
