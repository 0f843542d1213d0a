package diagnose

import (
	"errors"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/diagnosis"
	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
)

// whole returns the findings of a host that has all features, except those that mask removes.
func whole(mask func(tries map[string]error, sysctls map[string]string)) []diagnosis.Finding {
	found := map[string]error{"bridge": nil, "macvlan": nil, "ipvlan": nil, "802.1q": nil, "vxlan": nil,
		"isolated": nil, "locked": nil}
	sysctls := map[string]string{"net/ipv6/conf/all/disable_ipv6": "0", "net/ipv4/ip_forward": "1"}
	mask(found, sysctls)
	var tries []kernel.ProbeResult
	for what, err := range found {
		tries = append(tries, kernel.ProbeResult{What: what, Err: err})
	}
	return findings(tries, nil, nil, func(path string) string { return sysctls[path] })
}

// bad returns the findings that are not OK, as "severity name: text; hint".
func bad(all []diagnosis.Finding) (out []string) {
	for _, f := range all {
		if f.Severity != diagnosis.OK {
			out = append(out, map[diagnosis.Severity]string{diagnosis.Note: "note ",
				diagnosis.Problem: "problem "}[f.Severity]+f.Name+": "+f.Text+"; "+f.Hint)
		}
	}
	return out
}

func TestMissingFeaturesAreReported(t *testing.T) {
	const missing = ": the kernel does not have it; "
	lacks := func(what string) func(map[string]error, map[string]string) {
		return func(tries map[string]error, _ map[string]string) { tries[what] = kernel.ErrUnsupported }
	}
	set := func(path, value string) func(map[string]error, map[string]string) {
		return func(_ map[string]error, sysctls map[string]string) { sysctls[path] = value }
	}
	for name, c := range map[string]struct {
		mask func(map[string]error, map[string]string)
		want string // start of the only finding
	}{
		"nothing": {func(map[string]error, map[string]string) {}, ""},
		"isolated ports": {lacks("isolated"), "note enable_icc=false" + missing +
			"a kernel of 4.18 or later has isolated ports of bridges"},
		"locked ports": {lacks("locked"), "note locked ports" + missing +
			"a kernel of 5.18 or later has locked ports"},
		"bridges": {lacks("bridge"), "problem bridge" + missing +
			"load or build it: modprobe bridge veth"},
		"macvlan": {lacks("macvlan"), "note macvlan" + missing +
			"load or build it: modprobe macvlan"},
		"ipvlan": {lacks("ipvlan"), "note ipvlan" + missing + "load or build it: modprobe ipvlan"},
		"vxlan":  {lacks("vxlan"), "note vxlan" + missing + "load or build it: modprobe vxlan"},
		"VLANs": {lacks("802.1q"), "note parent=LINK.VLAN" + missing +
			"load or build them: modprobe 8021q"},
		"IPv6": {set("net/ipv6/conf/all/disable_ipv6", ""),
			"note IPv6: the host has no IPv6, so nothing is published on it; "},
		"br_netfilter, switched on": {set("net/bridge/bridge-nf-call-iptables", "1"),
			"note br_netfilter: packets within a bridge pass the firewall too: "},
		"br_netfilter, off": {set("net/bridge/bridge-nf-call-iptables", "0"), ""},
	} {
		got := bad(whole(c.mask))
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], c.want)) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestFailedProbeIsProblem(t *testing.T) {
	got := bad(findings(nil, errors.New("create network namespace: operation not permitted"), nil, nil))
	if len(got) != 1 || !strings.HasPrefix(got[0],
		"problem bridge: create network namespace: operation not permitted; netagent needs CAP_NET_ADMIN") {
		t.Errorf("%q", got)
	}
}

func TestRunDescribesEachProbe(t *testing.T) {
	testns.NeedRoot(t)
	tries, err := kernel.ProbeLinks()
	if err != nil {
		t.Fatal(err)
	}
	texts := linkTexts()
	for _, try := range tries {
		if texts[try.What].name == "" {
			t.Errorf("no text for %s", try.What)
		}
	}
	if len(tries) != len(texts) {
		t.Errorf("got %d probes and %d texts", len(tries), len(texts))
	}
	if err := kernel.TryIsolated(); err != nil {
		t.Errorf("isolated ports: %v", err)
	}
}

func TestMissingGuardIsProblem(t *testing.T) {
	got := bad(findings(nil, nil, kernel.ErrUnsupported, func(string) string { return "0" }))
	want := "problem source addresses: the kernel does not have it; load or build nftables for bridges: " +
		"modprobe nf_tables"
	if len(got) != 1 || !strings.HasPrefix(got[0], want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
