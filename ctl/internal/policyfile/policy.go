package policyfile

import (
	"fmt"

	"go.yaml.in/yaml/v4"

	"github.com/fairlead/fairlead/proto/egress"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// policy reads a policy.
func (r *reader) policy(n *yaml.Node) *containerv1.NamedPolicy {
	p := &containerv1.NamedPolicy{}
	faults := len(r.faults)
	r.object(n, "policy", policyKeys, func(key string, value *yaml.Node) {
		switch key {
		case "name":
			p.Name = r.text(value, key)
		case "containers":
			p.Containers = r.texts(value, key, anything)
		case "networks":
			p.Networks = r.texts(value, key, anything)
		case "labels":
			p.Labels = r.texts(value, key, isLabel)
		case "egress":
			p.Egress = r.texts(value, key, isRule(egress.Parse))
		case "ingress":
			p.Ingress = r.texts(value, key, isRule(egress.ParseIngress))
		case "tests":
			for _, one := range r.list(value, key) {
				p.Tests = append(p.Tests, r.test(one)...)
			}
		}
	})
	if len(r.faults) > faults {
		return p
	}

	switch first, twice := r.first[p.GetName()]; {
	case p.GetName() == "":
		r.add(n, "name", "is missing")
	case twice:
		r.add(n, "name", "%s is given twice, first at %s", p.GetName(), first)
	default:
		r.first[p.GetName()] = fmt.Sprintf("%s:%d", r.name, n.Line)
	}
	if len(p.GetContainers())+len(p.GetNetworks())+len(p.GetLabels()) == 0 {
		r.add(n, "containers", `is missing, must select containers by containers, networks or labels; ["*"] for all`)
	}
	if len(p.GetEgress())+len(p.GetIngress()) == 0 {
		r.add(n, "egress", "is missing, must have rules in egress or ingress")
	}
	return p
}

func anything(string) error { return nil }

func isLabel(text string) error {
	_, _, err := egress.ParsePeer("label:" + text)
	return err
}

// isRule returns a check of rules.
func isRule(parse func([]string) (egress.Policy, error)) func(string) error {
	return func(text string) error {
		_, err := parse([]string{text})
		return err
	}
}

// test reads the assertions about one container.
func (r *reader) test(n *yaml.Node) (all []*containerv1.PolicyTest) {
	container := ""
	r.object(n, "test", testKeys, func(key string, value *yaml.Node) {
		incoming := key == "may-be-reached-by" || key == "may-not-be-reached-by"
		if key == "container" {
			container = r.text(value, key)
			return
		}
		for _, peer := range r.texts(value, key, isPeer(incoming)) {
			all = append(all, &containerv1.PolicyTest{Peer: peer, Incoming: incoming,
				Allowed: key == "may-reach" || key == "may-be-reached-by"})
		}
	})
	if container == "" {
		r.add(n, "container", "is missing")
	}
	for _, t := range all {
		t.Container = container
	}
	return all
}

// isPeer returns a check of the peers of tests.
func isPeer(incoming bool) func(string) error {
	parse := egress.Parse
	if incoming {
		parse = egress.ParseIngress
	}
	return func(text string) error {
		p, err := parse([]string{text})
		if err == nil && (len(p) != 1 || p[0].Deny) {
			err = fmt.Errorf("%q is not one peer, such as github.com:443", text)
		}
		return err
	}
}
