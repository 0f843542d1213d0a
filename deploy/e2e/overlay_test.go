package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

// TestOverlayNetworks runs containers of one network on three hosts.
func TestOverlayNetworks(t *testing.T) {
	for _, mode := range []lab.DeployMode{lab.AllInOne, lab.Split} {
		t.Run(string(mode), func(t *testing.T) {
			needPrograms(t, "crun", "conmon")
			f := newFleet(t, mode, 3)
			f.serveImages()
			f.refuse(1, "network create -d overlay app", "run fairlead fleet init to start a fleet")
			var etcd *etcdServer // one mode has the records in a cluster of the operator
			if mode == lab.Split {
				etcd = f.foundOnEtcd()
			} else {
				f.found()
			}
			f.overlayEncrypted()
			f.overlayStarts()
			f.overlayMatrix()
			f.overlayNames()
			f.overlayInspected()
			if mode == lab.AllInOne { // does not depend on the mode
				f.overlayErrors()
				f.overlayPorts()
				f.overlayPolicies()
				f.overlayForgery()
				f.overlayRepairs()
				f.overlayAddresses()
			}
			if etcd != nil {
				f.etcdOutage(etcd)
			}
			f.overlayOutage()
			f.overlayEnds()
		})
	}
}

// overlayStarts creates networks and a container of each on each host.
func (f *fleet) overlayStarts() {
	f.t.Helper()
	f.run(1, "network create -d overlay --ipv6 --attachable app")
	f.run(1, "network create -d overlay --internal other")
	for n := 1; n <= 3; n++ {
		f.await(n, "network ls -f driver=overlay --format {{.Name}}/{{.Scope}}", "app/global\nother/global")
		f.run(n, fmt.Sprintf("run -d --name a%d --network app busybox sleep 1000", n))
		f.run(n, fmt.Sprintf("run -d --name o%d --network other busybox sleep 1000", n))
	}
}

// addresses returns the addresses of a container on a network.
func (f *fleet) addresses(n int, container, network string) []string {
	f.t.Helper()
	out, err := f.agents[n-1].CLI(f.ctx, "inspect", "-f", `{{with index .NetworkSettings.Networks "`+network+
		`"}}{{.IPAddress}} {{.GlobalIPv6Address}}{{end}}`, container)
	if err != nil {
		f.t.Fatalf("host %d: inspect %s: %v\n%s", n, container, err, out)
	}
	return strings.Fields(out)
}

// overlayMatrix pings all containers from all others.
func (f *fleet) overlayMatrix() {
	f.t.Helper()
	for from := 1; from <= 3; from++ {
		for to := 1; to <= 3; to++ {
			app := f.addresses(to, fmt.Sprint("a", to), "app")
			if len(app) != 2 {
				f.t.Fatalf("host %d: got addresses %v", to, app)
			}
			for _, a := range app {
				f.pings(from, fmt.Sprint("a", from), a, true)
			}
			other := f.addresses(to, fmt.Sprint("o", to), "other")[0]
			f.pings(from, fmt.Sprint("o", from), other, true)
			f.pings(from, fmt.Sprint("a", from), other, false)
		}
		f.pings(from, fmt.Sprint("a", from), lab.ClientIPv4, true)
		f.pings(from, fmt.Sprint("o", from), lab.ClientIPv4, false)
	}
}

// overlayInspected waits until inspect shows the containers of other hosts too.
func (f *fleet) overlayInspected() {
	f.t.Helper()
	for _, want := range []string{"a1//" + f.addresses(1, "a1", "app")[0] + "/20 ",
		"a2/two/" + f.addresses(2, "a2", "app")[0] + "/20 ", "a3/three/" + f.addresses(3, "a3", "app")[0] + "/20 "} {
		out := ""
		for f.ctx.Err() == nil && !strings.Contains(out, want) {
			out, _ = f.agents[0].CLI(f.ctx, "network", "inspect", "-f",
				"{{range .Containers}}{{.Name}}/{{.Node}}/{{.IPv4Address}} {{end}}", "app")
		}
		if !strings.Contains(out, want) {
			f.t.Errorf("got containers %s, want %s", out, want)
		}
	}
}

// overlayErrors traces the route from host one to a container of host two, which reports that the time of a packet is
// exceeded. Its error has an address of its own.
func (f *fleet) overlayErrors() {
	f.t.Helper()
	for _, a := range f.addresses(2, "a2", "app") {
		program := "traceroute"
		if strings.Contains(a, ":") {
			program = "traceroute6"
		}
		want := regexp.MustCompile(`(?m)^ 2 +[0-9a-f.:]+ .*\n 3 +` + regexp.QuoteMeta(a) + ` `)
		out := ""
		for f.ctx.Err() == nil && !want.MatchString(out) {
			out, _ = f.agents[0].CLI(f.ctx, "exec", "a1", program, "-n", "-q1", "-w10", "-m4", a)
		}
		if !want.MatchString(out) {
			f.t.Errorf("got %s", out)
		}
	}
}

// overlayPorts publishes a port on host two. The server sees the client's address.
func (f *fleet) overlayPorts() {
	f.t.Helper()
	f.run(2, "run -d --name web --network app -p 8080:80 nginx")
	out, err := f.hosts[1].Client.Output(f.ctx, "curl", "-s", "--retry", "20", "--retry-connrefused",
		"--retry-delay", "1", "--max-time", "30", "http://"+lab.HostIPv4+":8080/")
	if err != nil || !strings.Contains(out, "nginx") {
		f.t.Errorf("published port: got %v, %q", err, out)
	}
	for !strings.Contains(f.run(2, "logs web"), lab.ClientIPv4) { // until the test's time is over
		time.Sleep(50 * time.Millisecond)
	}
	f.run(1, "network update --mtu 1300 app")
	f.await(3, "exec a3 cat /sys/class/net/eth0/mtu", "1300")
	web := f.addresses(2, "web", "app")[0]
	f.run(1, "exec a1 wget -q -O /dev/null http://"+web+"/")
}

// overlayForgery sends packets of host three with the address of a container of host one.
func (f *fleet) overlayForgery() {
	f.t.Helper()
	on := f.hosts[2].Host
	forged, target := f.addresses(1, "a1", "app")[0], f.addresses(2, "web", "app")[0]
	dropped := func() string {
		out, err := f.hosts[1].Host.Output(f.ctx, "nft", "list", "chain", "inet", "fairlead", "frames")
		if err != nil {
			f.t.Fatal(err)
		}
		return out[strings.LastIndex(out, "counter"):]
	}
	before := dropped()
	if _, err := on.Output(f.ctx, "ip", "addr", "add", forged+"/32", "dev", "lo"); err != nil {
		f.t.Fatal(err)
	}
	out, err := on.Output(f.ctx, "curl", "-s", "--max-time", "1", "--interface", forged, "http://"+target)
	if err == nil {
		f.t.Errorf("forged request succeeds: %s", out)
	}
	if after := dropped(); after == before {
		f.t.Errorf("no forged frame was dropped: %s", after)
	}
	if _, err := on.Output(f.ctx, "ip", "addr", "del", forged+"/32", "dev", "lo"); err != nil {
		f.t.Fatal(err)
	}
}

// repairTime limits the time to a repair after an external change, on a loaded machine.
const repairTime = time.Minute

// overlayRepairs damages the tunnel of host one, which is repaired soon.
func (f *fleet) overlayRepairs() {
	f.t.Helper()
	for _, damage := range []string{"ip link delete fairlead-fleet", "ip route flush dev fairlead-fleet",
		"bridge fdb flush dev fairlead-fleet", "ip neigh flush dev fairlead-fleet nud permanent",
		"ip link set fairlead-fleet down"} {
		words := strings.Fields(damage)
		if _, err := f.hosts[0].Host.Output(f.ctx, words[0], words[1:]...); err != nil {
			f.t.Errorf("%s: %v", damage, err)
		}
		for _, a := range f.addresses(3, "a3", "app") {
			out, err := "", error(nil)
			for late := time.Now().Add(repairTime); ; {
				out, err = f.agents[0].CLI(f.ctx, "exec", "a1", "ping", "-c1", "-W1", a)
				if err == nil || time.Now().After(late) {
					break
				}
			}
			if err != nil {
				f.t.Errorf("%s: not repaired within %s: %s", damage, repairTime, out)
			}
		}
	}
}

// overlayOutage kills all agents while a container pings another one every ten milliseconds.
func (f *fleet) overlayOutage() {
	f.t.Helper()
	f.run(1, "run -d --name pinger --network app busybox ping -i 0.01 -c 1500 "+f.addresses(2, "a2", "app")[0])
	for _, a := range f.agents {
		if err := a.Stop(syscall.SIGKILL); err != nil {
			f.t.Fatal(err)
		}
	}
	for _, a := range f.agents {
		if err := a.Start(f.ctx); err != nil {
			f.t.Fatal(err)
		}
	}
	f.run(1, "wait pinger")
	if log := f.run(1, "logs pinger"); !strings.Contains(log, " 0% packet loss") {
		f.t.Errorf("packets were lost:\n%s", log[max(0, len(log)-300):])
	}
}

// overlayAddresses has static and reserved addresses, and a subnet that is exhausted.
func (f *fleet) overlayAddresses() {
	f.t.Helper()
	f.run(1, "network create -d overlay --subnet 10.200.0.0/29 --label a=b -o com.docker.network.driver.mtu=1400 tiny")
	f.await(3, "network ls -f name=tiny --format {{.Scope}}", "global")
	f.run(3, "run -d --name tiny3 --network tiny --ip 10.200.0.5 busybox sleep 1000")
	f.run(2, "run -d --name tiny2 --network tiny busybox sleep 1000")
	f.pings(2, "tiny2", "10.200.0.5", true)
	f.refuse(1, "run -d --name tiny1 --network tiny --ip 10.200.0.5 busybox sleep 1000", "10.200.0.5")
	for i, start := 0, time.Now(); ; i++ {
		out, err := f.agents[0].CLI(f.ctx, "run", "-d", "--network", "tiny", "busybox", "sleep", "1000")
		if err == nil && i < 8 {
			start = time.Now()
			continue
		}
		if err == nil || !strings.Contains(out, "no available IPv4 addresses") || !strings.Contains(out, "two") {
			f.t.Errorf("after %d containers and %s: got %v, %s", i, time.Since(start), err, out)
		}
		break
	}
	f.refuse(1, "network rm tiny", "has active endpoints")
	f.refuse(2, "network create -d overlay more", "manager")
	f.run(3, "rm -f tiny3")
	f.run(2, "rm -f tiny2")
	f.run(1, "rm -f "+strings.Join(strings.Fields(f.run(1, "ps -aq -f network=tiny")), " "))
	f.run(1, "network rm tiny")
	f.await(3, "network ls -f name=tiny --format {{.Scope}}", "")
}

// overlayEnds removes all containers: the hosts have nothing left of the networks.
func (f *fleet) overlayEnds() {
	f.t.Helper()
	f.refuse(3, "fleet leave", "has running containers on networks of the fleet: a3, ")
	for n := 1; n <= 3; n++ {
		f.run(n, "rm -f "+strings.Join(strings.Fields(f.run(n, "ps -aq")), " "))
	}
	f.run(3, "fleet leave")
	f.await(3, "network ls -f driver=overlay --format {{.Name}}", "")
	if out := f.run(1, "network create --subnet 10.255.0.0/24 inside"); !strings.Contains(out,
		"subnet 10.255.0.0/24 of network inside overlaps the fleet's address space 10.128.0.0/9") {
		f.t.Errorf("local network in the address space of the fleet: got %s", out)
	}
	f.run(1, "network rm app other inside")
	for n := 1; n <= 3; n++ {
		f.await(n, "network ls -f driver=overlay --format {{.Name}}", "")
		for f.ctx.Err() == nil {
			out, err := f.hosts[n-1].Host.Output(f.ctx, "ip", "-o", "link")
			if err == nil && !strings.Contains(out, "fairlead-fleet") && !strings.Contains(out, ": br-") {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// pings checks whether a container reaches an address.
func (f *fleet) pings(n int, container, address string, want bool) {
	f.t.Helper()
	timeout := "20"
	if !want {
		timeout = "1"
	}
	start := time.Now()
	out, err := f.agents[n-1].CLI(f.ctx, "exec", container, "ping", "-c1", "-W"+timeout, address)
	if (err == nil) != want {
		f.t.Errorf("host %d: %s reaches %s: %t, want %t, after %s\n%s", n, container, address, err == nil, want,
			time.Since(start), out)
	}
}
