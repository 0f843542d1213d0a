package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

// TestEncryptedNetworks pings between containers of three hosts, on an encrypted network and on a plain
// one. It needs WireGuard: make vmtest runs it.
func TestEncryptedNetworks(t *testing.T) {
	if !hasWireGuard() {
		t.Skip("needs WireGuard in the kernel")
	}
	needPrograms(t, "crun", "conmon")
	f := newFleet(t, lab.AllInOne, 3)
	f.serveImages()
	f.found()
	f.pingMatrix()
}

// pingMatrix creates an encrypted network and a plain one with a container on each host, and
// pings.
func (f *fleet) pingMatrix() {
	f.t.Helper()
	for n := 1; n <= 3; n++ { // each host has published its key
		for strings.TrimSpace(f.run(n, "fleet inspect -f {{.TunnelKeys}}")) == "[]" {
			time.Sleep(50 * time.Millisecond)
		}
	}
	for f.ctx.Err() == nil { // the manager knows all keys
		out, err := f.agents[0].CLI(f.ctx, strings.Fields("network create -d overlay --ipv6 -o encrypted secret")...)
		if err == nil {
			break
		}
		if !strings.Contains(out, "hosts without WireGuard") {
			f.t.Fatalf("create: %v, %s", err, out)
		}
	}
	f.run(1, "network create -d overlay plain")
	for n := 1; n <= 3; n++ {
		f.await(n, "network ls -f driver=overlay --format {{.Name}}", "plain\nsecret")
		f.run(n, fmt.Sprintf("run -d --name s%d --network secret busybox sleep 1000", n))
		f.run(n, fmt.Sprintf("run -d --name p%d --network plain busybox sleep 1000", n))
	}
	for from := 1; from <= 3; from++ {
		for to := 1; to <= 3; to++ {
			for _, a := range f.addresses(to, fmt.Sprint("s", to), "secret") {
				f.pings(from, fmt.Sprint("s", from), a, true)
			}
			plain := f.addresses(to, fmt.Sprint("p", to), "plain")[0]
			f.pings(from, fmt.Sprint("p", from), plain, true)
			f.pings(from, fmt.Sprint("s", from), plain, false)
		}
	}
	if mtu := strings.TrimSpace(f.run(1, "exec s1 cat /sys/class/net/eth0/mtu")); mtu != "1440" {
		f.t.Errorf("MTU: got %s, want 1440", mtu)
	}
	if out := f.run(2, "network inspect -f {{.Options}} secret"); !strings.Contains(out, "encrypted") {
		f.t.Errorf("options: got %s", out)
	}
}
