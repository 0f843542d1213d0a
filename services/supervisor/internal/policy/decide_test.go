package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
)

// decided returns the decisions about a peer, or about a source after "<".
func decided(t *testing.T, sources []policy.Source, peer string, members []policy.Member) string {
	t.Helper()
	peer, incoming := strings.CutPrefix(peer, "<")
	o, err := policy.Decide(sources, policy.Test{Container: "web-1", Peer: peer, Incoming: incoming}, members)
	if err != nil {
		t.Errorf("%s: %v", peer, err)
		return ""
	}
	var all []string
	for _, d := range o.All() {
		one := fmt.Sprintf("%v %s %s %s", d.Allowed, d.Rule, d.Source, d.Reason)
		if d.Target != "" {
			one += " [" + d.Target + "]"
		}
		all = append(all, one)
	}
	return strings.Join(all, ", ")
}

func TestDecideNamesTheSource(t *testing.T) {
	members := []policy.Member{web(), {ID: fmt.Sprintf("%064x", 2), Name: "db", Endpoints: []container.Endpoint{
		{NetworkName: "back", IPv4: "10.0.1.3/24"}}}}
	sources := []policy.Source{
		{Name: "options", Rules: policy.Rules{Egress: []string{"*.good.test:443,container:db:5432",
			"!db.bad.test"}}},
		{Name: "policy a", Rules: policy.Rules{Egress: []string{"internet:80", "!10.0.1.0/24:22"},
			Ingress: []string{"network:back:80", "!container:db"}}}}
	for _, c := range []struct{ peer, want string }{
		{"a.good.test:443", "true *.good.test:443 options "}, {"good.test:443", "false   policy"},
		{"other.test:80", "true internet:80 policy a "}, {"db.bad.test:80", "false !db.bad.test options rule"},
		{"container:db:5432", "true container:db:5432 options "}, {"10.0.1.3:5432", "true container:db:5432 options "},
		{"container:db:22", "false !10.0.1.0/24:22 policy a rule"}, {"metadata", "false   metadata"},
		{"host:80", "false   policy"}, {"lan:80", "false   policy"}, {"192.0.2.1:53", "false   dns"},
		{"<network:back:80", "true network:back:80 policy a  [10.0.1.0 tcp port 80], " +
			"false !container:db policy a rule [10.0.1.3 tcp port 80]"},
		{"<container:db:80", "false !container:db policy a rule"},
		{"<internet:80", "false   policy"}, {"<label:none:80", "false   policy"},
	} {
		if got := decided(t, sources, c.peer, members); got != c.want {
			t.Errorf("%s: got %q, want %q", c.peer, got, c.want)
		}
	}
}

// A peer is all addresses, protocols and ports that it names.
func TestDecideAboutAllOfAPeer(t *testing.T) {
	gateway := web(func(m *policy.Member) {
		m.Endpoints[0].Bridge, m.Endpoints[0].IPv4Gateway, m.Endpoints[0].IPv6Gateway = "br0", "10.0.0.1", "fd00::1"
	})
	for _, c := range []struct{ rules, peer, want string }{
		{"a.test:443", "a.test", "true a.test:443 options  [tcp port 443], false   policy [tcp port 1]"},
		{"a.test", "a.test", "true a.test options  [tcp port 1], false   dns [tcp port 53]"},
		{"a.test:443/tcp", "a.test:443", "true a.test:443/tcp options  [tcp port 443], false   policy [udp port 443]"},
		{"a.test:443/tcp", "a.test:443/tcp", "true a.test:443/tcp options "},
		{"a.test:443", "a.test:443", "true a.test:443 options "}, {"a.test:443", "a.test:443/udp", "false   quic"},
		{"a.test,a.test:443/udp", "a.test:443/udp", "true a.test:443/udp options "},
		{"a.test", "a.test:400-500/udp", "true a.test options  [udp port 400], false   quic [udp port 443]"},
		{"lan:53/udp", "10.0.0.9:53", "true lan:53/udp options  [udp port 53], false   policy [tcp port 53]"},
		{"lan", "10.0.0.9", "true lan options "},
		{"lan,!all:25", "10.9.0.0/16:1-1024",
			"true lan options  [tcp port 1], false !all:25 options rule [tcp port 25]"},
		{"10.0.0.0/9", "10.0.0.0/8:80",
			"true 10.0.0.0/9 options  [10.0.0.0 tcp port 80], false   policy [10.128.0.0 tcp port 80]"},
		{"10.255.255.255", "10.0.0.0/8:80", "true 10.255.255.255 options  [10.255.255.255 tcp port 80], " +
			"false   policy [10.0.0.0 tcp port 80]"},
		{"lan", "10.0.0.0/24:80", "true lan options  [10.0.0.0 tcp port 80], false   policy [10.0.0.1 tcp port 80]"},
		{"lan", "lan:80", "true lan options "}, {"internet", "internet", "true internet options "},
		{"0.0.0.0/0", "internet:80",
			"true 0.0.0.0/0 options  [1.0.0.0 tcp port 80], false   policy [::1:0:0 tcp port 80]"},
		{"lan", "10.0.0.1:80", "false   policy"}, {"host", "10.0.0.1:80", "true host options "},
		{"host", "[fd00::1]:80", "true host options "}, {"10.0.0.1", "host:80",
			"true 10.0.0.1 options  [10.0.0.1 tcp port 80], false   policy [fd00::1 tcp port 80]"},
		{"lan/icmp", "lan/icmp", "true lan/icmp options "},
		{"lan/tcp", "lan/icmp", "false   policy"},
	} {
		sources := []policy.Source{{Name: "options", Rules: policy.Rules{Egress: strings.Split(c.rules, ",")}}}
		if got := decided(t, sources, c.peer, []policy.Member{gateway}); got != c.want {
			t.Errorf("%s, %s:\n got %q\nwant %q", c.rules, c.peer, got, c.want)
		}
	}
}

func TestValidate(t *testing.T) {
	all := policy.Selector{Containers: []string{"*"}}
	for want, p := range map[string]*policy.Policy{
		"": {Name: "ok", Selector: all, Egress: []string{"none"}},
		"is not a valid name of a policy, must be two or more letters": {Name: "-", Selector: all,
			Egress: []string{"none"}},
		"selects no container": {Name: "p1", Egress: []string{"none"}},
		"has no rules":         {Name: "p1", Selector: all},
		"egress: rule":         {Name: "p1", Selector: all, Egress: []string{"intrnet"}},
		"ingress: rule":        {Name: "p1", Selector: all, Ingress: []string{"a.test"}},
		"is not a pattern": {Name: "p1", Selector: policy.Selector{Containers: []string{"["}},
			Egress: []string{"none"}},
		"is not a label": {Name: "p1", Selector: policy.Selector{Labels: []string{"="}},
			Egress: []string{"none"}},
		"is not one peer": {Name: "p1", Selector: all, Egress: []string{"none"},
			Tests: []policy.Test{{Container: "web", Peer: "!lan"}}},
		"names no container": {Name: "p1", Selector: all, Egress: []string{"none"},
			Tests: []policy.Test{{Peer: "lan"}}},
	} {
		if err := p.Validate(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestDecideBounded checks rules that divide a peer into millions of parts: one error says so, soon.
func TestDecideBounded(t *testing.T) {
	var list []string
	for i := range 500 {
		list = append(list, fmt.Sprintf("8.%d.%d.0/24", i/250, i%250), fmt.Sprintf("!internet:%d/tcp", 2*i+1))
	}
	sources := []policy.Source{{Name: "options", Rules: policy.Rules{Egress: list}}}
	_, err := policy.Decide(sources, policy.Test{Container: "web-1", Peer: "internet"}, nil)
	if err == nil || !strings.Contains(err.Error(), "internet stands for too many addresses and ports") {
		t.Errorf("got %v, want too many addresses and ports", err)
	}
	if got := decided(t, sources, "8.0.7.1:443/tcp", nil); !strings.HasPrefix(got, "false !internet:443/tcp") {
		t.Errorf("one address: got %s", got)
	}
}
