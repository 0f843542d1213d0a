package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
)

func TestDecideNamesTheSource(t *testing.T) {
	members := []policy.Member{web(), {ID: fmt.Sprintf("%064x", 2), Name: "db", Endpoints: []container.Endpoint{
		{NetworkName: "back", IPv4: "10.0.1.3/24"}}}}
	sources := []policy.Source{
		{Name: "options", Rules: policy.Rules{Egress: []string{"*.good.test:443", "container:db:5432",
			"!db.bad.test"}}},
		{Name: "policy a", Rules: policy.Rules{Egress: []string{"internet:80", "!10.0.1.0/24:22"},
			Ingress: []string{"network:back:80", "!container:db"}}}}
	for _, c := range []struct{ peer, want string }{
		{"a.good.test:443", "true *.good.test:443 options "}, {"good.test:443", "false   policy"},
		{"other.test:80", "true internet:80 policy a "}, {"db.bad.test:80", "false !db.bad.test options rule"},
		{"container:db:5432", "true container:db:5432 options "}, {"10.0.1.3:5432", "true container:db:5432 options "},
		{"container:db:22", "false !10.0.1.0/24:22 policy a rule"}, {"metadata", "false   metadata"},
		{"host:80", "false   policy"}, {"lan:80", "false   policy"}, {"192.0.2.1:53", "false   dns"},
		{"<network:back:80", "true network:back:80 policy a "}, {"<container:db:80",
			"false !container:db policy a rule"},
		{"<internet:80", "false   policy"}, {"<label:none:80", "false   policy"},
	} {
		peer, incoming := strings.CutPrefix(c.peer, "<")
		d, err := policy.Decide(sources, policy.Test{Container: "web-1", Peer: peer, Incoming: incoming}, members)
		if got := fmt.Sprintf("%v %s %s %s", d.Allowed, d.Rule, d.Source, d.Reason); err != nil || got != c.want {
			t.Errorf("%s: got %q, %v, want %q", c.peer, got, err, c.want)
		}
	}
}

func TestValidate(t *testing.T) {
	all := policy.Selector{Containers: []string{"*"}}
	for want, p := range map[string]*policy.Policy{
		"":                             {Name: "ok", Selector: all, Egress: []string{"none"}},
		"not a valid name of a policy": {Name: "-", Selector: all, Egress: []string{"none"}},
		"selects no container":         {Name: "p1", Egress: []string{"none"}},
		"has no rules":                 {Name: "p1", Selector: all},
		"egress: rule":                 {Name: "p1", Selector: all, Egress: []string{"intrnet"}},
		"ingress: rule":                {Name: "p1", Selector: all, Ingress: []string{"a.test"}},
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
