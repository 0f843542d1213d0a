package crash

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// ports lists the host ports that any case publishes.
var ports = []uint32{8080, 8090, 8091, 8099}

// agree waits until all stores and the kernel agree. The error lists the remaining differences.
func (w *world) agree() error {
	for deadline := time.Now().Add(agreeLimit); ; time.Sleep(100 * time.Millisecond) {
		differences := w.differences()
		if len(differences) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("differences after %s:\n  %s", agreeLimit, strings.Join(differences, "\n  "))
		}
	}
}

// differences is a list of messages.
type differences []string

func (d *differences) add(format string, args ...any) { *d = append(*d, fmt.Sprintf(format, args...)) }

func (w *world) differences() differences {
	var d differences
	r, err := w.peers.read(w.ctx)
	if err != nil {
		d.add("a service is not responding: %v", err)
		return d
	}

	compareRecords(r, &d)
	w.compareKernel(r, &d)
	if len(d) == 0 { // these checks are slow
		w.compareTraffic(r, &d)
		w.compareBystander(r, &d)
	}

	return d
}

func running(c *containerv1.Container) bool {
	return c.GetStatus() == containerv1.ContainerStatus_CONTAINER_STATUS_RUNNING
}

// compareRecords compares the supervisor's store with those of the other services.
func compareRecords(r *records, d *differences) {
	for id, c := range r.containers {
		name := c.GetConfig().GetName()
		if c.GetStatus() == containerv1.ContainerStatus_CONTAINER_STATUS_REMOVING {
			d.add("container %s is still being removed", name)
		}
		if !running(c) {
			continue
		}
		sb := r.sandboxes[id]
		if sb == nil {
			d.add("container %s is running without a sandbox", name)
			continue
		}
		compareEndpoints(name, c, sb, d)
		if have, want := bindings(r.publications[id].GetBindings()), bindings(c.GetBindings()); have != want {
			d.add("bindings of container %s: %s in natagent, %s in the supervisor", name, have, want)
		}
		if !r.named[id] {
			d.add("container %s has no registration in dnsagent", name)
		}
	}

	for id := range r.sandboxes {
		if !running(r.containers[id]) {
			d.add("sandbox of %s, which is not running", id[:12])
		}
	}

	for id := range r.publications {
		if !running(r.containers[id]) {
			d.add("publication of %s, which is not running", id[:12])
		}
	}

	for id := range r.named {
		if !running(r.containers[id]) {
			d.add("registration of %s, which is not running", id[:12])
		}
	}

	for _, id := range r.reserved {
		if r.containers[id] == nil {
			d.add("addresses reserved for %s, which does not exist", id[:12])
		}
	}

	for id, n := range r.networks {
		if n.GetBridge() != "" && !r.guarded[id] {
			d.add("network %s is missing in natagent", n.GetName())
		}
	}

	for id := range r.guarded {
		if r.networks[id] == nil {
			d.add("natagent has network %s, which does not exist", id[:12])
		}
	}
}

func compareEndpoints(name string, c *containerv1.Container, sb *networkv1.Sandbox, d *differences) {
	text := func(all []*networkv1.Endpoint) string {
		var out []string
		for _, e := range all {
			out = append(out, fmt.Sprint(e.GetNetworkName(), " ", e.GetId()[:8], " ", e.GetIpv4Address(), " ",
				e.GetMacAddress(), " ", e.GetIpv4Gateway()))
		}
		return strings.Join(out, ", ")
	}
	if have, want := text(sb.GetEndpoints()), text(c.GetSandbox().GetEndpoints()); have != want {
		d.add("endpoints of container %s: %s in netagent, %s in the supervisor", name, have, want)
	}

	var have, want []string
	for _, e := range sb.GetEndpoints() {
		have = append(have, e.GetNetworkName())
	}

	for _, a := range c.GetConfig().GetNetwork().GetNetworks() {
		want = append(want, a.GetNetwork())
	}

	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		d.add("networks of container %s: got %v, configured %v", name, have, want)
	}
}

func bindings(all []*natv1.PortBinding) string {
	var out []string
	for _, b := range all {
		out = append(out, fmt.Sprintf("%s:%d->%s:%d",
			b.GetHostIp(), b.GetHostPort(), b.GetContainerIp(), b.GetContainerPort()))
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}

// output runs a command on the host and returns its output, or FAILED and the error.
func (w *world) output(args ...string) string {
	out, err := w.Host.Output(w.ctx, args[0], args[1:]...)
	if err != nil {
		return "FAILED " + err.Error()
	}
	return out
}

// compareKernel compares the stores with links, neighbour entries, namespaces, rules, mounts,
// processes and files.
func (w *world) compareKernel(r *records, d *differences) {
	var wanted kernelState
	for id, sb := range r.sandboxes {
		wanted.pins = append(wanted.pins, id[:12])
		for _, e := range sb.GetEndpoints() {
			wanted.links = append(wanted.links, e.GetHostInterface()+" on "+e.GetBridge())
			wanted.neighbours = append(wanted.neighbours,
				fmt.Sprintf("%s dev %s lladdr %s", bare(e.GetIpv4Address()), e.GetBridge(), e.GetMacAddress()))
		}
		w.compareInside(id, sb, d)
	}

	for _, n := range r.networks {
		if n.GetBridge() != "" {
			wanted.bridges = append(wanted.bridges, n.GetBridge())
		}
	}

	for id, c := range r.containers {
		wanted.directories = append(wanted.directories, id[:12])
		if !running(c) {
			continue
		}
		wanted.mounts++
		for _, b := range c.GetBindings() {
			wanted.ports = append(wanted.ports, fmt.Sprint(b.GetHostPort()))
		}
		if _, err := os.Stat(w.Root(fmt.Sprintf("/proc/%d", c.GetPid()))); err != nil {
			d.add("container %s is running without a process", c.GetConfig().GetName())
		}
	}

	wanted.compare(w.kernel(), d)
}

func bare(cidr string) string {
	address, _, _ := strings.Cut(cidr, "/")
	return address
}

// kernelState is the actual state of a host, or the desired one.
type kernelState struct {
	links, bridges, neighbours, pins, directories, ports []string
	mounts, monitors                                     int
}

var (
	vethLine  = regexp.MustCompile(`(?m)^\d+: (veth\w+)@\S+: <([^>]*)> .* master (\S+) .*$`)
	vethAny   = regexp.MustCompile(`(?m)^\d+: (veth\w+|child\w+)[@:]`)
	neighbour = regexp.MustCompile(`(?m)^(\S+ dev \S+ lladdr \S+) `)
	element   = regexp.MustCompile(`\b(80\d\d)\b`)
)

func (w *world) kernel() kernelState {
	var s kernelState
	links := w.output("ip", "-o", "link", "show")
	known := map[string]bool{}
	for _, m := range vethLine.FindAllStringSubmatch(links, -1) {
		if known[m[1]] = true; strings.Contains(m[2], "LOWER_UP") {
			s.links = append(s.links, m[1]+" on "+m[3])
		} else {
			s.links = append(s.links, m[1]+" down on "+m[3])
		}
	}

	for _, m := range vethAny.FindAllStringSubmatch(links, -1) {
		if !known[m[1]] {
			s.links = append(s.links, m[1])
		}
	}

	for line := range strings.Lines(w.output("ip", "-o", "link", "show", "type", "bridge")) {
		if f := strings.Fields(line); len(f) > 1 {
			s.bridges = append(s.bridges, strings.TrimSuffix(f[1], ":"))
		}
	}

	for _, m := range neighbour.FindAllStringSubmatch(w.output("ip", "-4", "neigh", "show", "nud", "permanent"), -1) {
		s.neighbours = append(s.neighbours, m[1])
	}

	s.pins = names(filepath.Join(w.agent.ExecRoot(), "netns"))
	s.directories = names(filepath.Join(w.agent.DataRoot(), "containers"))
	for i := range s.directories {
		s.directories[i] = s.directories[i][:min(12, len(s.directories[i]))]
	}

	for line := range strings.Lines(w.output("cat", "/proc/mounts")) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "overlay" && strings.HasPrefix(f[1], w.Dir) {
			s.mounts++
		}
	}

	for _, m := range element.FindAllStringSubmatch(w.rules(), -1) {
		if !slices.Contains(s.ports, m[1]) {
			s.ports = append(s.ports, m[1])
		}
	}

	for _, p := range w.Processes() {
		if p.Name == "conmon" {
			s.monitors++
		}
	}

	return s
}

// rules returns the firewall rules of published ports as text, without counters.
func (w *world) rules() string {
	if w.backend == nftables {
		return w.output("nft", "--stateless", "list", "table", "inet", "fairlead")
	}
	return w.output("iptables-save", "-t", "nat")
}

func names(dir string) []string {
	var all []string
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func (s kernelState) compare(have kernelState, d *differences) {
	for _, c := range []struct {
		what       string
		want, have []string
	}{{"links", s.links, have.links}, {"bridges", s.bridges, have.bridges},
		{"neighbours", s.neighbours, have.neighbours},
		{"namespaces", s.pins, have.pins}, {"published ports in the firewall", s.ports, have.ports}} {
		slices.Sort(c.want)
		slices.Sort(c.have)
		c.want = slices.Compact(c.want)
		if !slices.Equal(c.want, c.have) {
			d.add("%s: got %v, want %v", c.what, c.have, c.want)
		}
	}

	for _, f := range have.directories {
		if !slices.Contains(s.directories, f) {
			d.add("files of %s, which is not registered", f)
		}
	}

	if have.mounts != s.mounts || have.monitors != s.mounts {
		d.add("%d running containers have %d root file systems and %d monitors", s.mounts, have.mounts, have.monitors)
	}
}

// compareInside compares the endpoints of a sandbox with its namespace.
func (w *world) compareInside(id string, sb *networkv1.Sandbox, d *differences) {
	in := func(args ...string) string {
		return w.output(append([]string{"nsenter", "--net=" + sb.GetNetnsPath(), "--", "ip", "-o", "-4"}, args...)...)
	}
	var want, have []string
	gateway := ""
	for _, e := range sb.GetEndpoints() {
		want = append(want, e.GetInterfaceName()+" "+e.GetIpv4Address())
		gateway = cmp.Or(gateway, e.GetIpv4Gateway())
	}

	for line := range strings.Lines(in("addr", "show")) {
		if f := strings.Fields(line); len(f) > 3 && f[1] != "lo" {
			have = append(have, f[1]+" "+f[3])
		}
	}

	slices.Sort(want)
	slices.Sort(have)
	if !slices.Equal(want, have) {
		d.add("inside %s: got %v, want %v", id[:12], have, want)
	}

	route := ""
	if f := strings.Fields(in("route", "show", "default")); len(f) > 2 {
		route = f[2]
	}

	if route != gateway {
		d.add("default route inside %s: got %q, want %q", id[:12], route, gateway)
	}
}
