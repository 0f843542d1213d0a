package e2e

import (
	"fmt"
	"strings"
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
			f.found()
			f.overlayStarts()
			f.overlayMatrix()
			f.overlayNames()
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
				f.pings(from, fmt.Sprint("a", from), a, from != to || true)
			}
		}
	}
}

// pings checks whether a container reaches an address.
func (f *fleet) pings(n int, container, address string, want bool) {
	f.t.Helper()
	timeout := "5"
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
