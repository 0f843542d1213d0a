// Package drivertest is the test suite of netagent's drivers. It covers create, attach, move,
// change of the MTU, restart, crash and delete. The tests of the driver packages call it.
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
	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Subject is a driver under test, and a network of it that is not on its host yet.
type Subject struct {
	Host    *testns.NS
	Network network.Network
	Others  []netip.Addr // addresses outside the network that containers must reach
	// New returns the driver of a starting agent. The functions return the stored networks and
	// sandboxes.
	New func(h *kernel.Host, networks func() []network.Network, sandboxes func() []endpoint.Sandbox) driver.Driver
}

// Run runs the suite. Each test gets a subject of its own.
func Run(t *testing.T, subject func(*testing.T) Subject) {
	for name, try := range map[string]func(*bench){
		"attach":                             (*bench).attach,
		"address moves to another container": (*bench).move,
		"detach and attach while running":    (*bench).remove,
		"MTU change":                         (*bench).refit,
		"subnet growth":                      (*bench).grow,
		"renumbering":                        (*bench).renew,
		"external changes":                   (*bench).damage,
		"restart changes nothing":            (*bench).restart,
		"sweep after crash during attach":    (*bench).crashInAttach,
		"sweep after crash during removal":   (*bench).crashInRemove,
		"failed attach leaves nothing":       (*bench).fail,
		"delete restores the host":           (*bench).delete,
	} {
		t.Run(name, func(t *testing.T) { try(newBench(t, subject(t))) })
	}
}

// bench is a driver on its host with netagent's stored state.
type bench struct {
	*testing.T
	Subject
	driver    driver.Driver
	host      *kernel.Host
	networks  []network.Network
	sandboxes []endpoint.Sandbox
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
	if _, created, err := b.driver.EnsureNetwork(b.Network, true); err != nil || !created {
		t.Fatalf("got created %v, %v", created, err)
	}

	return b
}

// start creates the driver as a starting agent does, from the stored state only.
func (b *bench) start() {
	b.driver = b.New(b.host, func() []network.Network {
		return b.networks
	}, func() []endpoint.Sandbox { return b.sandboxes })
}

// begin starts the agent on a host that was in use and returns the changes it made.
func (b *bench) begin() []string {
	b.Helper()
	b.start()
	changes, _, err := b.driver.EnsureNetwork(b.Network, true)
	if err != nil {
		b.Fatal(err)
	}
	restored, err := b.driver.Sweep(b.Network, b.sandboxes, b.host.Links)
	if err != nil {
		b.Fatal(err)
	}
	return append(changes, restored...)
}

// state returns the state of the host that a driver can change.
func (b *bench) state() string {
	b.Helper()
	shown := b.Host.Run("sh", "-c",
		"printf 'link\\naddr\\nroute\\nneigh show nud permanent\\n' | ip -o -batch - && ip -6 route")
	var lines []string
	for line := range strings.SplitSeq(shown, "\n") {
		// the kernel adds link-local addresses later
		if line = uncounted.ReplaceAllString(line, ""); !strings.Contains(line, "fe80:") {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// uncounted matches indexes, counters and flags that the kernel changes.
var uncounted = regexp.MustCompile(`^\d+: |(@\S+)?: <.*|\\.*|valid_lft.*| tentative| linkdown`)

// endpoint returns an endpoint whose static addresses end with number.
func (b *bench) endpoint(number int) endpoint.Endpoint {
	e := endpoint.Endpoint{ID: id.New(), NetworkID: b.Network.ID, NetworkName: b.Network.Name, Interface: "eth0",
		Spec: endpoint.Spec{LinkLocal: []netip.Addr{netip.AddrFrom4([4]byte{169, 254, 7, byte(number)})},
			Sysctls: []string{"net.ipv4.conf.IFNAME.log_martians=1"}}}
	for _, p := range b.Network.Spec.Pools {
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

// sandbox creates a namespace with the given endpoints and does not store it.
func (b *bench) sandbox(endpoints ...endpoint.Endpoint) endpoint.Sandbox {
	b.Helper()
	sb := endpoint.Sandbox{Owner: id.New(), OwnerName: "web", Mode: endpoint.Private, Endpoints: endpoints,
		NetnsPath: filepath.Join(b.TempDir(), "pin")}
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

// container returns a stored sandbox with one endpoint.
func (b *bench) container(number int) endpoint.Sandbox {
	b.Helper()
	sb := b.sandbox(b.endpoint(number))
	b.sandboxes = append(b.sandboxes, sb)
	return sb
}

// inside runs a command in the namespace of a sandbox.
func (b *bench) inside(sb endpoint.Sandbox, args ...string) string {
	b.Helper()
	return b.Host.Run("nsenter", append([]string{"--net=" + sb.NetnsPath, "--"}, args...)...)
}

// reaches fails the test unless all given addresses respond in the sandbox.
func (b *bench) reaches(sb endpoint.Sandbox, addrs ...netip.Addr) {
	b.Helper()
	for _, a := range addrs {
		var err error
		for range attempts { // an address may be tentative at first
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

// probeTCP connects from a sandbox to a closed port. An existing host refuses the connection.
func probeTCP(sb endpoint.Sandbox, a netip.Addr, limit time.Duration) (err error) {
	entered := kernel.WithPinned(sb.NetnsPath, func(*kernel.Namespace) error {
		var conn net.Conn
		if conn, err = net.DialTimeout("tcp", netip.AddrPortFrom(a, 9).String(), limit); err == nil {
			_ = conn.Close()
		}
		return nil
	})
	return errors.Join(err, entered)
}

func addresses(sb endpoint.Sandbox) []netip.Addr {
	var out []netip.Addr
	for _, e := range sb.Endpoints {
		for _, p := range e.Addresses() {
			out = append(out, p.Addr())
		}
	}
	return out
}

// detach detaches a sandbox at its end. The namespace stays while a process is in it.
func (b *bench) detach(sb endpoint.Sandbox) {
	b.Helper()
	for _, e := range sb.Endpoints {
		if err := b.driver.Detach(b.Network, sb, e); err != nil {
			b.Error(err)
		}
	}
	b.forget(sb)
}

func (b *bench) forget(sb endpoint.Sandbox) {
	var rest []endpoint.Sandbox
	for _, o := range b.sandboxes {
		if o.Owner != sb.Owner {
			rest = append(rest, o)
		}
	}
	b.sandboxes = rest
}

// asBefore fails the test unless the host's state becomes that of before within the timeout. The
// kernel and the driver delete links asynchronously.
func (b *bench) asBefore(before string) {
	b.Helper()
	b.runLinkGC()
	var now string
	for range attempts {
		if now = b.state(); now == before {
			return
		}
		time.Sleep(pause)
	}
	b.Errorf("got host state\n%s\nwant\n%s", now, before)
}

// Number and interval of the checks for asynchronous changes.
const (
	attempts = 100
	pause    = 50 * time.Millisecond
)
