package policy_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
)

func web(change ...func(*policy.Member)) policy.Member {
	m := policy.Member{ID: fmt.Sprintf("%064x", 1), Name: "web-1", Labels: map[string]string{"tier": "front"},
		Mode: "front", Endpoints: []container.Endpoint{
			{NetworkName: "front", IPv4: "10.0.0.2/24", IPv6: "fd00::2/64", Egress: []string{"internet"}},
			{NetworkName: "back", IPv4: "10.0.1.2/24", Egress: []string{"lan", "internet"}}}}
	for _, c := range change {
		c(&m)
	}
	return m
}

func TestSelects(t *testing.T) {
	for _, c := range []struct {
		selector policy.Selector
		want     bool
	}{
		{policy.Selector{Containers: []string{"db", "web-1"}}, true}, {policy.Selector{Containers: []string{"web"}},
			false},
		{policy.Selector{Containers: []string{"web-*"}}, true}, {policy.Selector{Containers: []string{"*"}}, true},
		{policy.Selector{Networks: []string{"back"}}, true}, {policy.Selector{Networks: []string{"other"}}, false},
		{policy.Selector{Labels: []string{"tier"}}, true}, {policy.Selector{Labels: []string{"tier=front"}}, true},
		{policy.Selector{Labels: []string{"tier=back", "other"}}, false},
		{policy.Selector{Containers: []string{"web-*"}, Labels: []string{"tier=back"}}, false},
		{policy.Selector{Containers: []string{"web-*"}, Labels: []string{"tier"}, Networks: []string{"front"}}, true},
	} {
		if got := c.selector.Selects(web()); got != c.want {
			t.Errorf("%+v: got %v", c.selector, got)
		}
	}
}

func TestMostSpecificRulesApply(t *testing.T) {
	ingress := &policy.Policy{Name: "in", Selector: policy.Selector{Labels: []string{"tier"}}, Ingress: []string{"lan"}}
	out := &policy.Policy{Name: "out", Selector: policy.Selector{Networks: []string{"front"}},
		Egress: []string{"a.test", "!lan"}, Ingress: []string{"none"}}
	other := &policy.Policy{Name: "other", Selector: policy.Selector{Containers: []string{"db"}},
		Egress: []string{"none"}}
	own := func(rules ...string) func(*policy.Member) {
		return func(m *policy.Member) { m.Own.Egress = rules }
	}
	bare := func(m *policy.Member) { m.Endpoints[0].Egress, m.Endpoints[1].Egress = nil, nil }
	for name, c := range map[string]struct {
		member   policy.Member
		policies []*policy.Policy
		want     policy.Rules
		sources  []string
	}{
		"nothing": {web(bare), []*policy.Policy{other}, policy.Rules{Egress: []string{"host"}},
			[]string{"configuration"}},
		"networks": {web(), nil, policy.Rules{Egress: []string{"internet", "lan"}}, []string{"network front",
			"network back"}},
		"options":    {web(own("none")), nil, policy.Rules{Egress: []string{"none"}}, []string{"options"}},
		"everything": {web(own("all")), nil, policy.Rules{Egress: []string{"all"}}, []string{"options"}},
		"only incoming": {web(), []*policy.Policy{ingress}, policy.Rules{Egress: []string{"internet", "lan"},
			Ingress: []string{"lan"}}, []string{"policy in", "network front", "network back"}},
		"together": {web(own("none")), []*policy.Policy{ingress, other, out},
			policy.Rules{Egress: []string{"a.test", "!lan"}, Ingress: []string{"lan"}}, []string{"options",
				"policy in", "policy out"}},
		"joined": {web(bare, func(m *policy.Member) { m.Mode = "container:x" }), nil, policy.Rules{}, nil},
	} {
		sources := policy.Sources(c.member, c.policies, []string{"host"})
		var names []string
		for _, s := range sources {
			names = append(names, s.Name)
		}
		if got := policy.Merge(sources); !got.Equal(c.want) || !slices.Equal(names, c.sources) {
			t.Errorf("%s: got %v of %q, want %v of %q", name, got, names, c.want, c.sources)
		}
	}
}

func TestAddressesOfPeers(t *testing.T) {
	all := []policy.Member{web(), {ID: fmt.Sprintf("%064x", 2), Name: "db", Labels: map[string]string{"tier": "back"},
		Endpoints: []container.Endpoint{{IPv4: "10.0.1.3/24"}}}}
	for peer, want := range map[string][]string{"container:db": {"10.0.1.3/32"}, "container:no": nil,
		"container:web-1": {"10.0.0.2/32", "10.0.1.2/32", "fd00::2/128"}, "label:tier=back": {"10.0.1.3/32"},
		"label:tier": {"10.0.0.2/32", "10.0.1.2/32", "10.0.1.3/32", "fd00::2/128"}, "network:front": nil, "db": nil,
		"container:" + all[1].ID: {"10.0.1.3/32"}} {
		var prefixes []netip.Prefix
		for _, text := range want {
			prefixes = append(prefixes, netip.MustParsePrefix(text))
		}
		if got := policy.Addresses(peer, all); !slices.Equal(got, prefixes) {
			t.Errorf("%s: got %v, want %v", peer, got, want)
		}
	}
}

func TestRestricts(t *testing.T) {
	for _, c := range []struct {
		rules policy.Rules
		want  bool
	}{{policy.Rules{}, false}, {policy.Rules{Egress: []string{"all"}}, false},
		{policy.Rules{Egress: []string{"observe"}}, true},
		{policy.Rules{Ingress: []string{"lan"}}, true}, {policy.Rules{Egress: []string{"all"},
			Ingress: []string{"all"}}, false}} {
		if got := c.rules.Restricts(); got != c.want {
			t.Errorf("%v: got %v", c.rules, got)
		}
	}
	r := policy.Rules{Egress: []string{"container:db", "lan"}, Ingress: []string{"label:x"}}
	if !slices.Equal(r.Peers(), []string{"container:db", "label:x"}) {
		t.Errorf("peers: %q", r.Peers())
	}
}

// TestLabelsOfImagesDoNotCount checks an image that has the labels of other containers: the author of an image must
// not choose its policies.
func TestLabelsOfImagesDoNotCount(t *testing.T) {
	config := container.Config{Name: "web-1", Labels: map[string]string{"given": "yes"}}
	image := &container.ImageConfig{Cmd: []string{"web"}, Labels: map[string]string{"tier": "front", "given": "no"}}
	process, err := container.ProcessOf(&config, image)
	if err != nil || process.Labels["tier"] != "front" || process.Labels["given"] != "yes" {
		t.Fatalf("labels of the process: got %v and %v", process, err)
	}
	m := policy.MemberOf(&container.Container{ID: fmt.Sprintf("%064x", 1), Config: config, Process: *process},
		[]container.Endpoint{{NetworkName: "front", IPv4: "10.0.0.2/24"}})
	for label, want := range map[string]bool{"tier": false, "tier=front": false, "given": true, "given=yes": true,
		"given=no": false} {
		if got := (policy.Selector{Labels: []string{label}}).Selects(m); got != want {
			t.Errorf("a policy for label %s: selected %v, want %v", label, got, want)
		}
		if got := policy.Addresses("label:"+label, []policy.Member{m}); len(got) > 0 != want {
			t.Errorf("the peer label:%s: got %v, want any: %v", label, got, want)
		}
	}
}
