package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/deploy/internal/lab"
	"github.com/fairlead/fairlead/deploy/internal/registry"
)

// matrix is a lab in which all places connect to all servers.
type matrix struct {
	*lab.Lab
	ctx    context.Context
	agent  *lab.Agent
	opened []io.Closer

	mu     sync.Mutex
	places map[string]place // by name: containers, "host" and "outside"
}

// place is a machine or container that connects, and accepts connections.
type place struct {
	machine    *lab.Machine
	own4, own6 netip.Addr
}

// newMatrix creates a lab whose machines accept all packets, and an agent that is not started yet.
func (e fixture) newMatrix(t *testing.T, ctx context.Context, backend string) *matrix {
	t.Helper()
	l, err := lab.New(ctx)
	if err != nil {
		t.Fatal(err)
	}

	m := &matrix{Lab: l, ctx: ctx}
	t.Cleanup(func() { m.end(t) })
	m.places = map[string]place{
		"host": {machine: l.Host, own4: netip.MustParseAddr(lab.HostIPv4), own6: netip.MustParseAddr(lab.HostIPv6)},
		"outside": {machine: l.Client,
			own4: netip.MustParseAddr(lab.ClientIPv4), own6: netip.MustParseAddr(lab.ClientIPv6)},
	}
	for on, lines := range map[*lab.Machine][]string{
		l.Host: {
			"sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.all.accept_local=1 " +
				"net.ipv4.conf.all.rp_filter=0",
			"ip addr add " + wholeIPv4 + "/24 dev eth0",
			"ip addr add " + wholeIPv6 + "/64 dev eth0 nodad preferred_lft 0", // not used as source address
		},
		l.Client: { // it routes 127.0.0.1 and the container subnets to the host
			"sysctl -qw net.ipv4.conf.all.route_localnet=1",
			"ip addr del 127.0.0.1/8 dev lo",
			"ip addr add 127.0.0.99/32 dev lo",
			"ip route add 127.0.0.1/32 via " + lab.HostIPv4,
			"ip route add 10.89.0.0/16 via " + lab.HostIPv4,
			"ip route add fd00:89::/32 via " + lab.HostIPv6,
		},
	} {
		for _, line := range lines {
			m.run(t, on, line)
		}
	}

	images, err := registry.New(e.images)
	if err != nil {
		t.Fatal(err)
	}

	listener, err := l.Host.Listen("tcp", registryAddress)
	if err != nil {
		t.Fatal(err)
	}

	m.opened = append(m.opened, images.Serve(listener))
	m.agent, err = l.NewAgent(e.bin, lab.AllInOne, map[string]any{
		"registry-mirrors": []string{"http://" + registryAddress},
		"firewall-backend": backend, "bip": "10.89.0.1/24", "bip6": "fd00:89:0::1/64",
	})
	if err != nil {
		t.Fatal(err)
	}

	return m
}

func (m *matrix) run(t *testing.T, on *lab.Machine, line string) {
	t.Helper()
	f := strings.Fields(line)
	if _, err := on.Output(m.ctx, f[0], f[1:]...); err != nil {
		t.Fatal(err)
	}
}

// start starts the agent and the servers, and creates the networks.
func (m *matrix) start(t *testing.T) {
	t.Helper()
	if err := m.agent.Start(m.ctx); err != nil {
		t.Fatal(err)
	}

	for i, k := range kinds() {
		if k.name == "bridge" {
			continue
		}
		v4, v6 := subnets(i)
		create := []string{"network", "create", "--ipv6", "--subnet", v4 + "0/24", "--subnet", v6 + "/64"}
		if out, err := m.agent.CLI(m.ctx, slices.Concat(create, k.options, []string{k.name})...); err != nil {
			t.Fatal(err, out)
		}
	}

	if _, err := m.agent.CLI(m.ctx, "pull", "busybox"); err != nil {
		t.Fatal(err)
	}

	var all sync.WaitGroup
	errs := make([]error, len(kinds())+len(servers()))
	for i, k := range kinds() {
		all.Go(func() { errs[i] = m.container("on "+k.name, ownPort, "--network", k.name) })
	}

	for i, s := range servers() {
		all.Go(func() { errs[len(kinds())+i] = m.serve(s) })
	}

	all.Wait()
	if err := errors.Join(append(errs, m.greeter("outside", ownPort))...); err != nil {
		t.Fatal(err)
	}

	m.addDefaultRoutes(t, "internal")
}

// serve starts a server, and a container that shares its network namespace.
func (m *matrix) serve(s server) error {
	if s.network == "" {
		return m.greeter(s.name, s.port, machineAddresses(s.name)...)
	}
	if err := m.container(s.name, s.port, append(s.publish, "--network", s.network)...); err != nil {
		return err
	}
	return m.container("joined to "+s.name, 0, "--network", "container:"+s.name)
}

// container runs a container with a greeter on a port. Port 0 means no greeter.
func (m *matrix) container(name string, port int, flags ...string) error {
	id := strings.ReplaceAll(name, " ", "-")
	run := slices.Concat([]string{"run", "-d", "--name", id}, flags, []string{"busybox", "sleep", "1000"})
	if out, err := m.agent.CLI(m.ctx, run...); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}

	format := "{{.State.Pid}}{{range .NetworkSettings.Networks}} {{.IPAddress}} {{.GlobalIPv6Address}}{{end}}"
	out, err := m.agent.CLI(m.ctx, "inspect", "-f", format, id)
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}

	f := strings.Fields(out)
	p := place{}
	if p.machine, err = lab.On(m.Root("/proc/" + f[0] + "/ns/net")); err != nil {
		return err
	}

	if len(f) > 2 {
		p.own4, p.own6 = netip.MustParseAddr(f[1]), netip.MustParseAddr(f[2])
	}

	m.mu.Lock()
	m.places[name] = p
	m.mu.Unlock()
	if port == 0 {
		return nil
	}

	return m.greeter(name, port)
}

// addDefaultRoutes adds default routes to the containers of a network without them, as a privileged
// program in the containers could.
func (m *matrix) addDefaultRoutes(t *testing.T, kind string) {
	t.Helper()
	bridge4, bridge6 := bridges(kind)
	for _, name := range []string{kind, "on " + kind} {
		for _, via := range []netip.Addr{bridge4, bridge6} {
			m.run(t, m.places[name].machine, "ip route add default via "+via.String())
		}
	}
}

// greeter starts a greeter on a port of a place, on the given addresses or on all. A machine with
// several addresses must list them, so that UDP responses have the right source address.
func (m *matrix) greeter(name string, port int, addresses ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	on, word := m.places[name].machine, strings.ReplaceAll(name, " ", "-")
	if len(addresses) == 0 {
		addresses = []string{""}
	}

	for _, a := range addresses {
		at := net.JoinHostPort(a, strconv.Itoa(port))
		l, err := on.Listen("tcp", at)
		if err != nil {
			return err
		}
		c, err := on.ListenPacket("udp", at)
		if err != nil {
			return err
		}
		go func() { _ = greetTCP(l, word) }()
		go func() { _ = greetUDP(c, word) }()
		m.opened = append(m.opened, l, c)
	}

	return nil
}

// dropFirewall stops the agent, deletes all firewall rules and connects the isolated network.
func (m *matrix) dropFirewall(t *testing.T) {
	t.Helper()
	if err := m.agent.Stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}

	m.run(t, m.Host, "nft flush ruleset")
	script := "! { iptables-legacy-save; ip6tables-legacy-save; } | grep -- -A"
	if out, err := m.Host.Output(m.ctx, "sh", "-c", script); err != nil {
		t.Fatal(err, out)
	}

	bridge4, bridge6 := bridges("isolated")
	m.run(t, m.Host, "ip addr add "+bridge4.String()+"/24 dev "+isolated)
	m.run(t, m.Host, "ip addr add "+bridge6.String()+"/64 dev "+isolated+" nodad")
	m.addDefaultRoutes(t, "isolated")
}

func (m *matrix) end(t *testing.T) {
	if t.Failed() && m.agent != nil {
		t.Log(m.agent.Log())
	}
	for _, c := range m.opened {
		_ = c.Close()
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}
