package e2e

import "strings"

// overlayPolicies limits what a container of host one reaches on other hosts, and what reaches one of host two.
func (f *fleet) overlayPolicies() {
	f.t.Helper()
	own, other, third := f.addresses(1, "a1", "app"), f.addresses(2, "a2", "app"), f.addresses(3, "a3", "app")
	f.run(1, "run -d --name box -l tier=front --network app --egress a2/icmp busybox sleep 1000")
	f.pings(1, "box", other[0], false) // the name was not resolved yet
	f.pings(1, "box", "a2", true)
	f.pings(1, "box", other[0], true)
	f.pings(1, "box", third[0], false)
	f.pings(1, "box", "a3", false)
	f.run(1, "update --egress network:app box")
	f.pings(1, "box", third[0], true)
	f.pings(1, "box", third[1], true)

	f.run(1, "update --egress container:a2,label:tier=back box")
	f.pings(1, "box", other[1], true)
	f.pings(1, "box", third[0], false)
	f.run(2, "run -d --name guarded -l tier=back --network app --ingress label:tier=front busybox sleep 1000")
	guarded := f.addresses(2, "guarded", "app")
	f.pingsSoon(1, "box", guarded[0])
	f.pingsSoon(1, "box", guarded[1])
	f.pings(1, "a1", guarded[0], false)
	f.otherHostsShown()
	f.run(2, "update --ingress "+own[0]+" guarded")
	f.pings(1, "a1", guarded[0], true)
	f.pings(1, "a1", guarded[1], false)
	f.pings(3, "a3", guarded[0], false)
	out := ""
	for f.ctx.Err() == nil && !strings.Contains(out, third[0]) {
		out = f.run(2, "denied --container guarded")
	}
	if !strings.Contains(out, " a3.three") {
		f.t.Errorf("refused containers have no names: %s", out)
	}
	f.run(1, "rm -f box")
	f.run(2, "rm -f guarded")
}

// pingsSoon waits until a container reaches an address of another host, which its policy names by a label.
func (f *fleet) pingsSoon(n int, container, address string) {
	f.t.Helper()
	out, err := "", error(nil)
	for f.ctx.Err() == nil {
		if out, err = f.agents[n-1].CLI(f.ctx, "exec", container, "ping", "-c1", "-W2", address); err == nil {
			return
		}
	}
	f.t.Errorf("host %d: %s does not reach %s: %v\n%s", n, container, address, err, out)
}

// otherHostsShown checks that commands name containers of other hosts.
func (f *fleet) otherHostsShown() {
	f.t.Helper()
	f.pingsSoon(1, "box", f.addresses(2, "guarded", "app")[0]) // its connection is forgotten after 30 s
	if out := f.run(1, "connections --container box --peer guarded.two"); !strings.Contains(out, " guarded.two ") {
		f.t.Errorf("connections: got %s", out)
	}
	for args, want := range map[string]string{
		"policy explain box container:guarded:80":                           "allowed",
		"policy explain box container:a3:80":                                "refused",
		"policy explain box " + f.addresses(2, "guarded", "app")[0] + ":80": "label:tier=back",
	} {
		if out := f.run(1, args); !strings.Contains(out, want) {
			f.t.Errorf("%s: got %s, want %q", args, out, want)
		}
	}
	if out := f.run(2, "policy explain --incoming guarded container:box"); !strings.Contains(out, "label:tier=front") {
		f.t.Errorf("incoming: got %s", out)
	}
}
