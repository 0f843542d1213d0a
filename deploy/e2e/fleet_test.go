package e2e

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/deploy/internal/lab"
	"github.com/fairlead/fairlead/deploy/internal/registry"
)

// fleetLimit limits a test of a fleet.
const fleetLimit = 6 * time.Minute

// fleet is several hosts on one LAN, each with an agent.
type fleet struct {
	t      *testing.T
	ctx    context.Context
	bin    string
	lan    *lab.LAN
	hosts  []*lab.Lab
	agents []*lab.Agent
}

// newFleet starts hosts with the addresses 10.99.0.1 and up.
func newFleet(t *testing.T, mode lab.DeployMode, number int) *fleet {
	t.Helper()
	bin := build(t)
	ctx, cancel := context.WithTimeout(context.Background(), fleetLimit)
	t.Cleanup(cancel)
	lan, err := lab.NewLAN(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lan.Close)
	f := &fleet{t: t, ctx: ctx, bin: bin, lan: lan}
	for n := 1; n <= number; n++ {
		f.add(bin, mode, n)
	}
	return f
}

func (f *fleet) add(bin string, mode lab.DeployMode, n int) {
	f.t.Helper()
	host, err := lab.New(f.ctx)
	if err != nil {
		f.t.Fatal(err)
	}
	agent, err := host.NewAgent(bin, mode, map[string]any{"fleet-lease": "3s",
		"registry-mirrors": []string{"http://" + registryAddress}})
	f.t.Cleanup(func() {
		if f.t.Failed() && agent != nil {
			f.t.Logf("log of host %d:\n%s", n, agent.Log())
		}
		if err := host.Close(); err != nil {
			f.t.Error(err)
		}
	})
	if err == nil {
		err = f.lan.Attach(f.ctx, host.Host, fmt.Sprintf("port%d", n), fmt.Sprintf("10.99.0.%d/24", n))
	}
	if err == nil {
		err = agent.Start(f.ctx)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	f.hosts, f.agents = append(f.hosts, host), append(f.agents, agent)
}

// serveImages starts a registry on the loopback of each host.
func (f *fleet) serveImages() {
	f.t.Helper()
	r, err := registry.New(images(f.t))
	if err != nil {
		f.t.Fatal(err)
	}
	for _, h := range f.hosts {
		l, err := h.Host.Listen("tcp", registryAddress)
		if err != nil {
			f.t.Fatal(err)
		}
		server := r.Serve(l)
		f.t.Cleanup(func() { _ = server.Close() })
	}
}

// run runs a command on host n, counted from 1.
func (f *fleet) run(n int, args string) string {
	f.t.Helper()
	out, err := f.agents[n-1].CLI(f.ctx, strings.Fields(args)...)
	if err != nil {
		f.t.Fatalf("host %d: fairlead %s: %v\n%s", n, args, err, out)
	}
	return out
}

// refuse runs a command that must fail with a text.
func (f *fleet) refuse(n int, args, want string) {
	f.t.Helper()
	out, err := f.agents[n-1].CLI(f.ctx, strings.Fields(args)...)
	if err == nil || !strings.Contains(out, want) {
		f.t.Errorf("host %d: fairlead %s: error %v, output %q, want %q", n, args, err, out, want)
	}
}

// await waits until a command prints a text.
func (f *fleet) await(n int, args, want string) {
	f.t.Helper()
	out := ""
	for f.ctx.Err() == nil {
		out, _ = f.agents[n-1].CLI(f.ctx, strings.Fields(args)...)
		if strings.TrimSpace(out) == want {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	f.t.Fatalf("host %d: fairlead %s: got %q, want %q", n, args, out, want)
}

const (
	states    = "fleet ls --format {{.Name}}={{.State}}"
	dataPaths = "fleet ls --format {{.Name}}={{.DataPath}}"
)

// joinCommand matches the command that init and token print.
var joinCommand = regexp.MustCompile(`fairlead (fleet join flt1\.\S+)`)

func TestFleetOfThreeHosts(t *testing.T) {
	for _, mode := range []lab.DeployMode{lab.AllInOne, lab.Split} {
		t.Run(string(mode), func(t *testing.T) {
			needPrograms(t, "crun", "conmon")
			f := newFleet(t, mode, 3)
			f.refuse(1, "fleet ls", "is not part of a fleet")
			f.block(1, "iifname != lo tcp dport 7450-7452")
			created := f.run(1, "fleet init --name one --address 10.99.0.1")
			if want := "TCP ports 7450, 7451 and 7452 are closed to hosts of 10.99.0.0/24, blocked in the host " +
				"firewall by a rule of inet stop in; open them in the firewall of this host: "; !strings.Contains(
				created, want) {
				t.Errorf("got %q, want the warning %q", created, want)
			}
			f.refuse(1, "fleet doctor", "TCP ports 7450, 7451 and 7452 are closed to hosts of 10.99.0.0/24")
			f.unblock(1)
			join := joinCommand.FindStringSubmatch(created)
			if join == nil {
				t.Fatal("init prints no command to join")
			}
			if out := f.run(2, join[1]+" --name two"); !strings.Contains(out, "two with address 10.99.0.2") {
				t.Errorf("got %q", out)
			}
			f.refuse(3, join[1]+" --name three", "has expired, was used")
			f.refuse(3, join[1][:len(join[1])-5]+" --name three", "cut off or altered")
			f.run(3, "fleet join --name three "+f.run(1, "fleet token -q"))
			for n := 1; n <= 3; n++ {
				f.await(n, states, "one=alive\nthree=alive\ntwo=alive")
			}

			f.outages(mode == lab.AllInOne) // the data path does not depend on the mode
			f.members()
		})
	}
}

// outages cuts a host off, kills all agents and lets them return. A firewall that closes the port of the tunnel
// breaks the data path meanwhile, if paths is set.
func (f *fleet) outages(paths bool) {
	f.t.Helper()
	must := func(err error) {
		if err != nil {
			f.t.Fatal(err)
		}
	}
	must(f.lan.Cut(f.ctx, "port2"))
	f.await(1, states, "one=alive\nthree=alive\ntwo=suspect")
	must(f.lan.Connect(f.ctx, "port2"))
	f.await(1, states, "one=alive\nthree=alive\ntwo=alive")

	if paths {
		f.await(1, dataPaths, "one=ok\nthree=ok\ntwo=ok")
		f.block(3, "udp dport 4789")
	}
	for _, a := range f.agents {
		must(a.Stop(syscall.SIGKILL))
	}
	for _, a := range f.agents {
		must(a.Start(f.ctx))
	}
	for n := 1; n <= 3; n++ {
		f.await(n, states, "one=alive\nthree=alive\ntwo=alive")
	}
	if !paths {
		return
	}
	f.await(1, dataPaths, "one=broken: three\nthree=broken: one,two\ntwo=broken: three")
	f.refuse(1, "fleet doctor",
		"the data path between it and this host is broken: no packet to UDP port 4789 comes back")
	f.unblock(3)
	f.await(1, dataPaths, "one=ok\nthree=ok\ntwo=ok")
}

// block adds a host firewall that drops some packets.
func (f *fleet) block(n int, packets string) {
	f.t.Helper()
	for _, rule := range []string{"add table inet stop",
		"add chain inet stop in { type filter hook input priority 0 ; }",
		"add rule inet stop in " + packets + " drop"} {
		if _, err := f.hosts[n-1].Host.Output(f.ctx, "nft", rule); err != nil {
			f.t.Fatal(err)
		}
	}
}

// unblock removes the host firewall.
func (f *fleet) unblock(n int) {
	f.t.Helper()
	if _, err := f.hosts[n-1].Host.Output(f.ctx, "nft", "delete table inet stop"); err != nil {
		f.t.Fatal(err)
	}
}

// members removes one host; then all leave.
func (f *fleet) members() {
	f.t.Helper()
	f.refuse(2, "fleet rm three", "is not a manager")
	f.refuse(1, "fleet rm three", "is alive")
	f.refuse(1, "fleet leave", "is the only manager")
	f.run(1, "fleet rm --force three")
	f.await(2, states, "one=alive\ntwo=alive")
	f.run(3, "fleet leave --force")
	f.run(2, "fleet leave")
	f.await(1, states, "one=alive")
	f.run(1, "fleet leave")
	f.refuse(1, "fleet ls", "is not part of a fleet")
	for n, h := range f.hosts {
		for _, p := range h.Processes() {
			if strings.HasPrefix(p.Name, "fairlead-store") {
				f.t.Errorf("host %d: got process %s left", n+1, p)
			}
		}
	}
}
