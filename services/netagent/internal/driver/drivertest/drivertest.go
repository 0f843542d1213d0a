// Package drivertest is what every driver of netagent must pass: create, attach, move, change of the MTU, restart, crash, delete.
package drivertest

import (
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/reconcile"
	"github.com/fairlead/fairlead/services/netagent/internal/sandbox"
)

// Driver is what netagent needs of a driver.
type Driver interface {
	sandbox.Driver
	reconcile.Driver
}

// Subject is a driver to be tried, and a network of it that is not on its host yet.
type Subject struct {
	Host    *testns.NS
	Network network.Network
	Others  []netip.Addr // whom the network's containers reach, beside each other
	// New makes the driver, as a process that starts does. It may ask which networks and sandboxes are remembered.
	New func(h *kernel.Host, networks func() []network.Network, sandboxes func() []network.Sandbox) Driver
}

// Run tries a driver. Each test gets a subject of its own.
func Run(t *testing.T, subject func(*testing.T) Subject) {
	for name, try := range map[string]func(*bench){
		"a container reaches others and is as it was told to be":     (*bench).attach,
		"an address moves to another container at once":              (*bench).move,
		"a container can be unplugged and plugged in while it runs":  (*bench).remove,
		"a change of the MTU reaches containers":                     (*bench).refit,
		"larger subnets reach containers":                            (*bench).grow,
		"an endpoint gets another address while it runs":             (*bench).renew,
		"a restart finds everything right":                           (*bench).restart,
		"what was made and not remembered is swept after a crash":    (*bench).crashInAttach,
		"what was forgotten and is still there goes after a crash":   (*bench).crashInRemove,
		"an attachment that fails leaves nothing":                    (*bench).fail,
		"a network that is deleted leaves the host as it was before": (*bench).delete,
	} {
		t.Run(name, func(t *testing.T) { try(newBench(t, subject(t))) })
	}
}

// bench is a driver on its host with what netagent remembers.
type bench struct {
	*testing.T
	Subject
	driver    Driver
	host      *kernel.Host
	networks  []network.Network
	sandboxes []network.Sandbox
	before    string // the host's state without the network
}

func newBench(t *testing.T, s Subject) *bench {
	b := &bench{T: t, Subject: s, networks: []network.Network{s.Network}}
	var err error
	if b.host, err = kernel.Open(s.Host.Path()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.host.Close)
	b.before = b.state()
	b.start()
	if _, created, err := b.driver.Ensure(b.Network, true); err != nil || !created {
		t.Fatalf("the network is made: %v, %v", created, err)
	}
	return b
}

// start makes the driver as a process does that knows only what is remembered.
func (b *bench) start() {
	b.driver = b.New(b.host, func() []network.Network { return b.networks }, func() []network.Sandbox { return b.sandboxes })
}

// begin is the start of a process on a host that was in use. It answers what that changed.
func (b *bench) begin() []string {
	b.Helper()
	b.start()
	changes, _, err := b.driver.Ensure(b.Network, true)
	if err != nil {
		b.Fatal(err)
	}
	restored, err := b.driver.Restore(b.Network, b.sandboxes, b.host.Links)
	if err != nil {
		b.Fatal(err)
	}
	return append(changes, restored...)
}

// state is what there is on the host that a driver may make.
func (b *bench) state() string {
	b.Helper()
	shown := b.Host.Run("sh", "-c", "printf 'link\\naddr\\nroute\\nneigh show nud permanent\\n' | ip -o -batch - && ip -6 route")
	var lines []string
	for line := range strings.SplitSeq(shown, "\n") {
		if line = uncounted.ReplaceAllString(line, ""); !strings.Contains(line, "fe80:") { // those come when the kernel is done
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// uncounted is what the kernel numbers, counts, and finds out by itself.
var uncounted = regexp.MustCompile(`^\d+: |(@\S+)?: <.*|\\.*|valid_lft.*| tentative| linkdown`)

// endpoint is one that is asked for by the last numbers of its addresses.
func (b *bench) endpoint(number int) network.Endpoint {
	e := network.Endpoint{ID: id.New(), NetworkID: b.Network.ID, NetworkName: b.Network.Name, Interface: "eth0",
		Spec: network.EndpointSpec{LinkLocal: []netip.Addr{netip.AddrFrom4([4]byte{169, 254, 7, byte(number)})}, Sysctls: []string{"net.ipv4.conf.IFNAME.log_martians=1"}}}
	for _, p := range b.Network.Pools {
		addr := p.Subnet.Addr()
		for range number {
			addr = addr.Next()
		}
		prefix := netip.PrefixFrom(addr, p.Subnet.Bits())
		if addr.Is4() {
			e.IPv4, e.Gateway4, e.MAC = prefix, p.ContainerGatewayAddr(), network.MACOf(addr)
		} else {
			e.IPv6, e.Gateway6 = prefix, p.ContainerGatewayAddr()
		}
	}
	return b.driver.Complete(b.Network, e)
}

// sandbox makes a namespace with those endpoints, and does not remember it.
func (b *bench) sandbox(endpoints ...network.Endpoint) network.Sandbox {
	b.Helper()
	sb := network.Sandbox{Owner: id.New(), OwnerName: "web", Mode: network.Private, Endpoints: endpoints, NetnsPath: filepath.Join(b.TempDir(), "pin")}
	err := kernel.NewNamespace(func(ns *kernel.Namespace) error {
		for _, e := range endpoints {
			if err := b.driver.Attach(ns, b.Network, sb.Owner, e); err != nil {
				return err
			}
		}
		return ns.Pin(sb.NetnsPath)
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := kernel.Unpin(sb.NetnsPath); err != nil {
			b.Error(err)
		}
	})
	return sb
}

// container is a sandbox with one endpoint that is remembered.
func (b *bench) container(number int) network.Sandbox {
	b.Helper()
	sb := b.sandbox(b.endpoint(number))
	b.sandboxes = append(b.sandboxes, sb)
	return sb
}

// inside runs a command in a sandbox.
func (b *bench) inside(sb network.Sandbox, args ...string) string {
	b.Helper()
	return b.Host.Run("nsenter", append([]string{"--net=" + sb.NetnsPath, "--"}, args...)...)
}

// reaches fails the test unless all these addresses answer in the sandbox.
func (b *bench) reaches(sb network.Sandbox, addrs ...netip.Addr) {
	b.Helper()
	for _, a := range addrs {
		var err error
		for range patience { // an address may be tentative yet
			if err = probeTCP(sb, a, 2*time.Second); errors.Is(err, unix.ECONNREFUSED) {
				break
			}
			time.Sleep(pause)
		}
		if !errors.Is(err, unix.ECONNREFUSED) {
			b.Errorf("%s does not reach %s: %v", sb.Endpoints[0].Interface, a, err)
		}
	}
}

// probeTCP connects from a sandbox to a port that nobody listens on, which is refused by whoever is there.
func probeTCP(sb network.Sandbox, a netip.Addr, limit time.Duration) (err error) {
	entered := kernel.WithPinned(sb.NetnsPath, func(*kernel.Namespace) error {
		var conn net.Conn
		if conn, err = net.DialTimeout("tcp", netip.AddrPortFrom(a, 9).String(), limit); err == nil {
			_ = conn.Close()
		}
		return nil
	})
	return errors.Join(err, entered)
}

func addresses(sb network.Sandbox) []netip.Addr {
	var out []netip.Addr
	for _, e := range sb.Endpoints {
		for _, p := range e.Addresses() {
			out = append(out, p.Addr())
		}
	}
	return out
}

// unplug detaches a sandbox as its end does. The namespace stays as long as somebody is in it.
func (b *bench) unplug(sb network.Sandbox) {
	b.Helper()
	for _, e := range sb.Endpoints {
		if err := b.driver.Detach(b.Network, sb, e); err != nil {
			b.Error(err)
		}
	}
	b.forget(sb)
}

func (b *bench) forget(sb network.Sandbox) {
	var rest []network.Sandbox
	for _, o := range b.sandboxes {
		if o.Owner != sb.Owner {
			rest = append(rest, o)
		}
	}
	b.sandboxes = rest
}

// asBefore fails the test unless the host is as it was before, within the time that kernel and driver take for what they do later.
func (b *bench) asBefore(before string) {
	b.Helper()
	b.bury()
	var now string
	for range patience {
		if now = b.state(); now == before {
			return
		}
		time.Sleep(pause)
	}
	b.Errorf("the host is now\n%s\nand was\n%s", now, before)
}

// How often is looked for what the kernel does later, and what is between.
const (
	patience = 100
	pause    = 50 * time.Millisecond
)
