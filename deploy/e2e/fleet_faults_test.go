package e2e

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

// TestFleetFaults has the faults that take long: the store is away, a network is deleted while a host is cut off,
// and a host without a block needs an address of another one. make fleettest runs it.
func TestFleetFaults(t *testing.T) {
	if os.Getenv(campaignKills) == "" {
		t.Skip("takes a minute; run make fleettest")
	}
	needPrograms(t, "crun", "conmon")
	f := newFleet(t, lab.AllInOne, 3)
	f.serveImages()
	f.found()
	f.storeAway()
	f.deletedWhileCutOff()
	f.donated()
}

// storeAway ends the only manager's agent and store. Containers start with addresses of the host's blocks.
func (f *fleet) storeAway() {
	f.t.Helper()
	f.run(1, "network create -d overlay app")
	for n := 2; n <= 3; n++ {
		f.await(n, "network ls -f driver=overlay --format {{.Name}}", "app")
	}
	f.run(2, "run -d --name db --network app busybox sleep 100000")
	f.run(3, "run -d --name pinger --network app busybox ping -i 0.01 "+f.addresses(2, "db", "app")[0])
	f.awaitName(3, "pinger", "db", 2)
	if err := f.agents[0].Stop(syscall.SIGKILL); err != nil {
		f.t.Fatal(err)
	}
	if err := f.hosts[0].Kill(f.ctx, "fairlead-store"); err != nil {
		f.t.Fatal(err)
	}

	f.run(2, "run -d --name late --network app busybox sleep 100000")
	f.pings(3, "pinger", f.addresses(2, "late", "app")[0], true)
	f.awaitName(3, "pinger", "db", 2)
	if err := f.agents[2].Stop(syscall.SIGKILL); err != nil {
		f.t.Fatal(err)
	}
	if err := f.agents[2].Start(f.ctx); err != nil { // with its copy of the records
		f.t.Fatal(err)
	}
	f.run(3, "run -d --name late3 --network app busybox sleep 100000")
	f.pings(2, "late", f.addresses(3, "late3", "app")[0], true)
	for f.ctx.Err() == nil && !strings.Contains(f.run(3, "fleet ls"), "the list may be outdated") {
		time.Sleep(100 * time.Millisecond)
	}
	began := time.Now()
	f.refuse(3, "network create -d overlay more", "is not a manager")
	f.t.Logf("refused after %s", time.Since(began))

	if err := f.agents[0].Start(f.ctx); err != nil {
		f.t.Fatal(err)
	}
	f.await(1, states, "one=alive\nthree=alive\ntwo=alive")
	f.awaitName(3, "pinger", "late", 2) // published late
	f.run(3, "stop -s INT pinger")
	if log := f.run(3, "logs pinger"); !strings.Contains(log, " 0% packet loss") {
		f.t.Errorf("packets were lost: %s", log[max(0, len(log)-300):])
	}
	f.run(2, "rm -f db late")
	f.run(3, "rm -f pinger late3")
	f.run(1, "network rm app")
}

// awaitName waits until a container resolves the name of one on another host.
func (f *fleet) awaitName(n int, container, name string, on int) {
	f.t.Helper()
	want, out := f.addresses(on, name, "app"), ""
	for f.ctx.Err() == nil {
		out, _ = f.agents[n-1].CLI(f.ctx, "exec", container, "nslookup", "-type=a", name+".")
		if slices.Equal(answers(out), want) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	f.t.Fatalf("%s does not resolve %s: %s", container, name, out)
}

// deletedWhileCutOff deletes a network that a host has which is cut off. Its subnet is not used again before the
// host has removed it.
func (f *fleet) deletedWhileCutOff() {
	f.t.Helper()
	const subnet = "10.201.0.0/24"
	f.run(1, "network create -d overlay --subnet "+subnet+" old")
	f.await(3, "network ls -f name=old --format {{.Name}}", "old")
	f.run(3, "run -d --name c3 --network old busybox sleep 100000")
	if err := f.lan.Cut(f.ctx, "port3"); err != nil {
		f.t.Fatal(err)
	}
	f.run(3, "rm -f c3")
	f.await(1, states, "one=alive\nthree=suspect\ntwo=alive")
	f.refuse(1, "network rm old", "has active endpoints: c3 on host three") // it cannot know better
	if err := f.lan.Connect(f.ctx, "port3"); err != nil {
		f.t.Fatal(err)
	}
	for f.ctx.Err() == nil { // the end of the container is published
		if _, err := f.agents[0].CLI(f.ctx, "network", "rm", "old"); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}

	if err := f.lan.Cut(f.ctx, "port3"); err != nil {
		f.t.Fatal(err)
	}
	out, err := f.agents[0].CLI(f.ctx, "network", "create", "-d", "overlay", "--subnet", subnet, "new")
	f.t.Logf("while a host is cut off: %v %s", err, out)
	if err == nil {
		f.run(1, "network rm new") // host three had confirmed before
	} else if !strings.Contains(out, "which some hosts still have") {
		f.t.Errorf("got %s", out)
	}
	if err := f.lan.Connect(f.ctx, "port3"); err != nil {
		f.t.Fatal(err)
	}
	for f.ctx.Err() == nil { // confirmed
		if _, err := f.agents[0].CLI(f.ctx, "network", "create", "-d", "overlay", "--subnet", subnet,
			"new"); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	f.run(1, "network rm new")
	f.await(3, "network ls -f driver=overlay --format {{.Name}}", "")
}

// donated starts containers on three hosts on a network with fewer blocks than hosts: they give each other
// addresses, until there is none.
func (f *fleet) donated() {
	f.t.Helper()
	f.await(1, states, "one=alive\nthree=alive\ntwo=alive")
	f.run(1, "network create -d overlay --subnet 10.202.0.0/28 tiny")
	var all []string
	owners := map[string]string{}
	for i, waits := 0, 0; len(all) < 10 && waits < 100; i++ {
		n := 1 + i%3
		f.await(n, "network ls -f name=tiny --format {{.Name}}", "tiny")
		name := "t" + string(rune('a'+i%26)) + string(rune('a'+i/26))
		out, err := f.agents[n-1].CLI(f.ctx, "run", "-d", "--name", name, "--network", "tiny", "busybox", "sleep",
			"100000")
		if err != nil {
			if !strings.Contains(out, "no available IPv4 addresses") {
				f.t.Fatalf("host %d: %v\n%s", n, err, out)
			}
			_, _ = f.agents[n-1].CLI(f.ctx, "rm", "-f", name)
			waits++
			continue
		}
		address := f.addresses(n, name, "tiny")[0]
		if other, taken := owners[address]; taken {
			f.t.Fatalf("address %s is that of %s and of %s", address, name, other)
		}
		owners[address] = name
		all = append(all, name)
	}
	if len(all) < 10 {
		f.t.Errorf("got %d containers on three hosts with 13 addresses: %v", len(all), owners)
	}
}
