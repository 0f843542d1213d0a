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
	// program is a server of etcd; empty: fairlead-store.
	program string
}

const (
	etcdClient = "https://" + lab.HostIPv4 + ":2379"
	etcdPeer   = "https://" + lab.HostIPv4 + ":2380"
)

// foundOnEtcd creates a fleet of all hosts whose records are in an etcd cluster.
func (f *fleet) foundOnEtcd() *etcdServer {
	f.t.Helper()
	e := f.etcd("")
	f.refuse(1, initOne+e.options(), "cannot be reached")
	e.start()
	f.joinAll(e.init())
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

// initOne creates a fleet on host one.
const initOne = "fleet init --name one --address 10.99.0.1 "

// etcd returns a server that is not started.
func (f *fleet) etcd(program string) *etcdServer {
	f.t.Helper()
	e := &etcdServer{fleet: f, dir: f.t.TempDir(), program: program}
	writeCerts(e.dir)
	f.t.Cleanup(e.kill)
	return e
}

// options returns the options of fleet init.
func (e *etcdServer) options() string {
	file := func(name string) string { return filepath.Join(e.dir, name) }
	return "--store " + etcdClient + " --store-ca " + file("ca.pem") + " --store-cert " + file("cert.pem") +
		" --store-key " + file("key.pem") + " --store-prefix /fleets/one"
}

// init creates a fleet when the server has a leader, and returns what is printed. It returns the error of a server
// that is too old.
func (e *etcdServer) init() (out string) {
	e.fleet.t.Helper()
	for e.fleet.ctx.Err() == nil {
		var err error
		if out, err = e.fleet.agents[0].CLI(e.fleet.ctx, strings.Fields(initOne+e.options())...); err == nil ||
			strings.Contains(out, "is older than") {
			return out
		}
		time.Sleep(100 * time.Millisecond)
	}
	e.fleet.t.Fatalf("init: %s", out)
	return ""
}

// start starts the server. Its database survives.
func (e *etcdServer) start() {
	e.fleet.t.Helper()
	e.cmd = e.command()
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

// etcdOutage kills the server. Containers of the last host start and have names, and all hosts are alive when it
// returns.
func (f *fleet) etcdOutage(e *etcdServer) {
	f.t.Helper()
	last := len(f.hosts)
	// The host has a block of addresses.
	f.run(last, "run -d --name late --network app busybox sleep 1000")
	f.awaitAddress(1, "a1", "late", last) // a start does not wait until the name is published
	e.kill()
	for f.ctx.Err() == nil && !strings.Contains(f.run(2, "fleet ls"), "the list may be outdated") {
		time.Sleep(100 * time.Millisecond)
	}
	f.run(last, "run -d --name later --network app busybox sleep 1000")
	f.pings(1, "a1", f.addresses(last, "later", "app")[0], true)
	f.awaitAddress(1, "a1", "late", last)
	f.refuse(1, "network create -d overlay more", "cannot be reached")
	e.start()
	f.await(2, states, map[int]string{2: "one=alive\ntwo=alive", 3: "one=alive\nthree=alive\ntwo=alive"}[last])
	f.awaitAddress(1, "a1", "later", last) // published late
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
