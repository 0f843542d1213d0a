package e2e

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

// etcdServer is an etcd cluster of the operator: one server, on host one.
type etcdServer struct {
	fleet *fleet
	dir   string
	cmd   *exec.Cmd
}

const (
	etcdClient = "https://" + lab.HostIPv4 + ":2379"
	etcdPeer   = "https://" + lab.HostIPv4 + ":2380"
)

// foundOnEtcd creates a fleet of all hosts whose records are in an etcd cluster.
func (f *fleet) foundOnEtcd() *etcdServer {
	f.t.Helper()
	e := &etcdServer{fleet: f, dir: f.t.TempDir()}
	writeCerts(e.dir)
	f.t.Cleanup(e.kill)
	cert := func(name string) string { return filepath.Join(e.dir, name) }
	options := "--store " + etcdClient + " --store-ca " + cert("ca.pem") + " --store-cert " + cert("cert.pem") +
		" --store-key " + cert("key.pem") + " --store-prefix /fleets/one"
	f.refuse(1, "fleet init --name one --address 10.99.0.1 "+options, "cannot be reached")
	e.start()
	out, err := "", error(nil)
	for f.ctx.Err() == nil { // until the server has a leader
		if out, err = f.agents[0].CLI(f.ctx, strings.Fields("fleet init --name one --address 10.99.0.1 "+
			options)...); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	f.joinAll(out)
	f.await(3, "fleet inspect -f {{.ExternalStore.Endpoints}}{{.ExternalStore.Prefix}}", "["+etcdClient+"]/fleets/one")
	for n, h := range f.hosts {
		for _, p := range h.Processes() {
			if n > 0 && strings.HasPrefix(p.Name, "fairlead-store") {
				f.t.Errorf("host %d: got process %s", n+1, p)
			}
		}
	}
	return e
}

// start starts the server. Its database survives.
func (e *etcdServer) start() {
	e.fleet.t.Helper()
	file := func(name string) string { return filepath.Join(e.dir, name) }
	e.cmd = exec.Command(filepath.Join(e.fleet.bin, "fairlead-store"), "--name", "etcd", "--dir", file("data"),
		"--client-url", etcdClient, "--peer-url", etcdPeer, "--cluster", "etcd="+etcdPeer,
		"--ca", file("ca.pem"), "--cert", file("agent.pem"), "--key", file("agent-key.pem"),
		"--peer-ca", file("ca.pem"), "--peer-cert", file("agent.pem"), "--peer-key", file("agent-key.pem"))
	if err := e.fleet.hosts[0].Host.Start(e.cmd); err != nil {
		e.fleet.t.Fatal(err)
	}
}

// kill kills the server.
func (e *etcdServer) kill() {
	if e.cmd != nil {
		_ = e.cmd.Process.Kill()
		_ = e.cmd.Wait()
		e.cmd = nil
	}
}

// etcdOutage kills the server. Containers start and have names, and all hosts are alive when it returns.
func (f *fleet) etcdOutage(e *etcdServer) {
	f.t.Helper()
	f.run(3, "run -d --name late --network app busybox sleep 1000") // its host has a block of addresses
	f.awaitAddress(1, "a1", "late", 3)                              // a start does not wait until the name is published
	e.kill()
	for f.ctx.Err() == nil && !strings.Contains(f.run(2, "fleet ls"), "the list may be outdated") {
		time.Sleep(100 * time.Millisecond)
	}
	f.run(3, "run -d --name later --network app busybox sleep 1000")
	f.pings(1, "a1", f.addresses(3, "later", "app")[0], true)
	f.awaitAddress(1, "a1", "late", 3)
	f.refuse(1, "network create -d overlay more", "cannot be reached")
	e.start()
	f.await(2, states, "one=alive\nthree=alive\ntwo=alive")
	f.awaitAddress(1, "a1", "later", 3) // published late
	f.run(1, "network create -d overlay more")
	f.run(1, "network rm more")
}

// awaitAddress waits until a container resolves the IPv4 address of one on another host.
func (f *fleet) awaitAddress(n int, container, name string, on int) {
	f.t.Helper()
	want, out := f.addresses(on, name, "app")[0], ""
	for f.ctx.Err() == nil {
		out, _ = f.agents[n-1].CLI(f.ctx, "exec", container, "nslookup", "-type=a", name+".")
		if slices.Contains(answers(out), want) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	f.t.Fatalf("%s does not resolve %s to %s: %s", container, name, want, out)
}
