package egress_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/refusals"
)

// records is a store in memory.
type records struct {
	mu    sync.Mutex
	all   map[string]*plan.Container
	peers []plan.Peer
}

func (r *records) Peer(name string) (*plan.Peer, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.peers {
		if r.peers[i].Name == name {
			return &r.peers[i], true
		}
	}
	return nil, false
}

func (r *records) PutPeers(all []plan.Peer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peers = all
	return nil
}

func (r *records) Policies() (all []*plan.Container) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.all {
		all = append(all, c)
	}
	return all
}

func (r *records) Policy(owner string) (*plan.Container, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.all[owner]
	return c, ok
}

func (r *records) PutPolicy(c *plan.Container) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[c.Owner] = c
	return nil
}

func (r *records) ChangePolicies(put []*plan.Container, remove []string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range put {
		r.all[c.Owner] = c
	}
	for _, owner := range remove {
		delete(r.all, owner)
	}
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
	t          testing.TB
	host, a, b *testns.NS
	web        *testns.NS
	store      *records
	enforcer   *egress.Enforcer
	endpoint   plan.Endpoint
	dir        string      // of the journal
	asked      uint16      // number of attacks
	stop       func()      // ends the process of natagent
	away       atomic.Bool // netagent does not run
}

// namespace opens a netlink socket in the namespace of container a, as netagent does.
func (w *world) namespace(context.Context, string) (*os.File, error) {
	if w.away.Load() {
		return nil, fault.New(fault.Unavailable, "socket", "no service is listening")
	}
	fd, err := -1, error(nil)
	w.a.Do(func() {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK,
			unix.NETLINK_NETFILTER)
	})
	return os.NewFile(uintptr(fd), "netlink"), err
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, host: testns.New(t), a: testns.New(t), b: testns.New(t), web: testns.New(t),
		store: &records{all: map[string]*plan.Container{}}, dir: t.TempDir()}
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
	w.endpoint = plan.Endpoint{NetworkID: networkID, MAC: macA,
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
	if w.stop != nil {
		w.stop()
	}
	ns := hostns.At(w.host.Fd())
	journal, err := refusals.Open(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	w.enforcer = egress.New(ns, w.store, conntrack.New(ns), journal, slog.New(slog.DiscardHandler),
		w.namespace)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { w.enforcer.Run(ctx) })
	enforcer := w.enforcer
	w.stop = sync.OnceFunc(func() { stop(); running.Wait(); _ = enforcer.Close() })
	w.t.Cleanup(w.stop)
	if err := w.enforcer.Sync(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) put(rules ...string) {
	w.t.Helper()
	c := &plan.Container{Owner: owner, Name: "box", Rules: rules, Endpoints: []plan.Endpoint{w.endpoint}}
	if err := w.enforcer.Put(context.Background(), c, false); err != nil {
		w.t.Fatal(err)
	}
}

// answer returns an answer of the embedded name server.
func answer(name string, addresses []netip.Addr, ttl time.Duration) answered.Answer {
	return answered.Answer{Name: name, Addresses: addresses, TTL: ttl}
}

// putIngress sets a policy with rules for both directions.
func (w *world) putIngress(rules, ingress []string) {
	w.t.Helper()
	c := &plan.Container{Owner: owner, Name: "box", Rules: rules, Ingress: ingress,
		Endpoints: []plan.Endpoint{w.endpoint}}
	if err := w.enforcer.Put(context.Background(), c, false); err != nil {
		w.t.Fatal(err)
	}
}

// putPeers sets the addresses of peers: name, prefix, prefix, ... each.
func (w *world) putPeers(all ...[]string) {
	w.t.Helper()
	var peers []plan.Peer
	for _, one := range all {
		p := plan.Peer{Name: one[0]}
		for _, text := range one[1:] {
			p.Prefixes = append(p.Prefixes, netip.MustParsePrefix(text))
		}
		peers = append(peers, p)
	}
	if err := w.enforcer.PutPeers(context.Background(), peers, false); err != nil {
		w.t.Fatal(err)
	}
}

// frames opens a socket for Ethernet frames of a protocol.
func (w *world) frames(n *testns.NS, protocol uint16) (fd, link int) {
	w.t.Helper()
	var err error
	n.Do(func() {
		var i *net.Interface
		if i, err = net.InterfaceByName("eth0"); err != nil {
			return
		}
		link = i.Index
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(protocol<<8|protocol>>8))
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return fd, link
}

// frameArrives reports whether a receives Ethernet frames of a protocol from b.
func (w *world) frameArrives(protocol uint16, wait time.Duration) bool {
	w.t.Helper()
	in, _ := w.frames(w.a, protocol)
	defer unix.Close(in)
	out, link := w.frames(w.b, protocol)
	defer unix.Close(out)

	to := &unix.SockaddrLinklayer{Protocol: protocol<<8 | protocol>>8, Ifindex: link, Halen: 6,
		Addr: [8]byte{0x02, 5: 0x0a}}
	short := unix.NsecToTimeval(int64(silenceTime / 4))
	if err := unix.SetsockoptTimeval(in, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &short); err != nil {
		w.t.Fatal(err)
	}
	for end := time.Now().Add(wait); time.Now().Before(end); {
		if err := unix.Sendto(out, make([]byte, 64), 0, to); err != nil {
			w.t.Fatal(err)
		}
		if n, _, err := unix.Recvfrom(in, make([]byte, 128), 0); err == nil && n > 0 {
			return true
		}
	}
	return false
}

// connect returns "" if a connection works, "refused" if it is rejected, else the error.
func (w *world) connect(from *testns.NS, to string) string {
	w.t.Helper()
	c, err := from.Dial("tcp", to, 30*time.Second)
	switch {
	case err == nil:
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
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

// refusals returns the records once there are n.
func (w *world) refusals(n int) string {
	w.t.Helper()
	var text strings.Builder
	for end := time.Now().Add(time.Minute); ; {
		found, _, more := w.enforcer.Since(time.Time{})
		if len(found) < n && time.Now().Before(end) {
			select {
			case <-more:
			case <-time.After(time.Until(end)):
			}
			continue
		}
		for _, r := range found {
			direction := ""
			if r.Incoming {
				direction = " in"
			}
			fmt.Fprintln(&text, r.Name, r.Reason, r.Protocol, r.Address, r.Port, r.Domain+direction)
		}
		return text.String()
	}
}
