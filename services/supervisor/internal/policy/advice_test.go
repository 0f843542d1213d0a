package policy_test

import (
	"slices"
	"testing"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
)

func TestAdvice(t *testing.T) {
	const (
		noNames = "egress: no rule opens names, so that only those of containers are resolved; " +
			"add dns to resolve all names"
		published = "port 80/tcp is published, but no rule for incoming traffic allows it"
		extra     = "egress: rule db.corp does not open 10.0.0.5 of --add-host, which is not resolved; " +
			"add a rule for the address"
	)
	for name, c := range map[string]struct {
		egress, ingress string
		others          policy.Rules // of policies
		publish         []string
		hosts           []string
		want            []string
	}{
		"no rules":              {publish: []string{"80"}},
		"names":                 {egress: "github.com:443", publish: []string{"80"}},
		"addresses":             {egress: "10.0.0.0/8", want: []string{noNames}},
		"addresses and dns":     {egress: "10.0.0.0/8,dns"},
		"addresses and a name":  {egress: "10.0.0.0/8,a.test"},
		"names of a policy":     {egress: "10.0.0.0/8", others: policy.Rules{Egress: []string{"internet"}}},
		"addresses of a policy": {others: policy.Rules{Egress: []string{"10.0.0.0/8"}}},
		"nothing":               {egress: "none"},
		"port closed":           {ingress: "none", publish: []string{"8080:80"}, want: []string{published}},
		"port closed by policy": {others: policy.Rules{Ingress: []string{"lan:22"}}, publish: []string{"80"},
			want: []string{published}},
		"port of another protocol": {ingress: "all:80/udp", publish: []string{"80"}, want: []string{published}},
		"port denied":              {ingress: "lan:22,!all:80", publish: []string{"80"}, want: []string{published}},
		"port open":                {ingress: "label:app=shop:80", publish: []string{"8080:80"}},
		"port in a range":          {ingress: "lan:70-90", publish: []string{"8080:80"}},
		"all ports":                {ingress: "lan", publish: []string{"80", "81/udp", "82/sctp"}},
		"a host": {egress: "db.corp", hosts: []string{"db.corp:10.0.0.5", "x:10.0.0.6"},
			want: []string{extra}},
		"a host with a rule": {egress: "db.corp,10.0.0.5", hosts: []string{"db.corp:10.0.0.5"}},
		"a host of the lan":  {egress: "db.corp,lan", hosts: []string{"db.corp:10.0.0.5"}},
		"contradiction": {egress: "lan,!lan", ingress: "lan:80,lan",
			want: []string{"egress: rule lan allows nothing, !lan denies all of it",
				"ingress: rule lan:80 adds nothing to lan"}},
	} {
		cfg := &container.Config{}
		cfg.DNS.ExtraHosts = c.hosts
		for _, text := range c.publish {
			m, err := port.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			cfg.Network.Publish = append(cfg.Network.Publish, m)
		}
		if c.egress != "" {
			cfg.Network.Egress = []string{c.egress}
		}
		if c.ingress != "" {
			cfg.Network.Ingress = []string{c.ingress}
		}
		all := policy.Merge([]policy.Source{{Rules: policy.RulesOf(&cfg.Network)}, {Rules: c.others}})
		if got := policy.Advice(cfg, all); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
