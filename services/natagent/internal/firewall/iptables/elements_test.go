package iptables

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/port"
)

func TestPortRuleRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v6, bytes := rapid.Bool().Draw(t, "v6"), 4
		if v6 {
			bytes = 16
		}
		ip := func(label string) netip.Addr {
			a, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), bytes, bytes).Draw(t, label))
			return a
		}
		b := port.Binding{
			Protocol: rapid.SampledFrom([]port.Protocol{port.TCP, port.UDP,
				port.SCTP}).Draw(t, "proto"),
			HostIP: ip("host"), Host: port.Single(rapid.Uint16Range(1, 65534).Draw(t, "hostPort")),
			ContainerIP: ip("container"), Container: port.Single(rapid.Uint16Range(1, 65535).Draw(t, "port")),
			OwnerName: rapid.StringMatching(`([a-z][a-z0-9_.-]*)?`).Draw(t, "name"),
		}
		switch rapid.SampledFrom([]string{"port", "run", "address"}).Draw(t, "form") {
		case "run":
			b.Host.Last = rapid.Uint16Range(b.Host.First+1, 65535).Draw(t, "end")
			b.Container = b.Host
		case "address":
			b.Protocol, b.Host, b.Container = port.All, port.Range{}, port.Range{}
			if b.HostIP.IsUnspecified() {
				return
			}
		}
		rule := dnatRules(b)[0]
		got, ok := parseBinding(family{v6: v6}, rule)
		if b.HostIP.Is4In6() || b.ContainerIP.Is4In6() {
			return // not an address of a host or container
		}
		if !ok || got != b {
			t.Errorf("%s\nis read as %+v, %v; want %+v", rule, got, ok, b)
		}
	})
}

func TestExactAddressPrecedesAll(t *testing.T) {
	const (
		one   = "-d 10.0.0.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.2:80"
		whole = "-d 10.0.0.1/32 -j DNAT --to-destination 10.0.0.2"
		end   = "-d 10.0.0.1/32 -p tcp -m tcp --dport 80 -j ACCEPT"
		all   = "-p udp -m udp --dport 80:90 -j DNAT --to-destination 10.0.0.2"
	)

	for _, row := range []struct {
		rules []string
		want  bool
	}{
		{nil, true},
		{[]string{one, one, whole, all, all}, true},
		{[]string{all, one}, false},
		{[]string{all, whole}, false},
		{[]string{whole, one}, false},
		{[]string{"-j RETURN"}, false},
		{[]string{"-s 10.9.0.0/16 " + one, end, whole}, true},
		{[]string{end, "-s 10.9.0.0/16 " + one, whole}, false},
		{[]string{whole, end}, false},
	} {
		if got := inOrder(family{}, row.rules); got != row.want {
			t.Errorf("%q: %v", row.rules, got)
		}
	}
}

func FuzzParseSaved(f *testing.F) {
	f.Add("*nat\n:PREROUTING ACCEPT [0:0]\n:FAIRLEAD-DNAT - [0:0]\n-A PREROUTING -m addrtype --dst-type LOCAL -j " +
		"FAIRLEAD-DNAT\n" +
		"-A FAIRLEAD-DNAT -d 10.0.0.1/32 -p tcp -m tcp --dport 80 -m comment --comment \"web 80/tcp\" -j DNAT " +
		"--to-destination 10.0.0.2:80\nCOMMIT\n")

	f.Add("-A x\n*\n:\n-A \n-j")
	f.Fuzz(func(t *testing.T, text string) {
		all := parseSaved(text)
		_ = removal(all)
		for _, chains := range all {
			for _, rules := range chains {
				for _, r := range rules {
					_, _ = parseBinding(family{}, r)
					_ = target(r)
				}
			}
		}
	})
}
