package policyfile

import (
	"fmt"
	"path"
	"regexp"
	"strings"

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
			p.Containers = r.texts(value, key, isPattern)
		case "networks":
			p.Networks = r.texts(value, key, anything)
		case "labels":
			p.Labels = r.texts(value, key, isLabel)
		case "egress":
			p.Egress = r.rules(value, key, egress.Parse)
		case "ingress":
			p.Ingress = r.rules(value, key, egress.ParseIngress)
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
	case !validName.MatchString(p.GetName()):
		r.add(n, "name", "%q is not valid, must be two or more letters, digits, and _.-, "+
			"starting with a letter or digit", p.GetName())
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

// validName matches names of policies.
var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

func anything(string) error { return nil }

func isPattern(text string) error {
	if _, err := path.Match(text, ""); err != nil {
		return fmt.Errorf("%q is not a pattern of container names", text)
	}
	return nil
}

// rules reads rules of one direction. They must be valid alone, and together.
func (r *reader) rules(n *yaml.Node, key string, parse func([]string) (egress.Policy, error)) []string {
	faults := len(r.faults)
	all := r.texts(n, key, isRule(parse))
	if len(r.faults) > faults {
		return all
	}
	if _, err := parse(all); err != nil {
		r.add(n, key, "%s", err)
	}
	return all
}

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
	container, faults := "", len(r.faults)
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
	switch {
	case container == "":
		r.add(n, "container", "is missing")
	case len(all) == 0 && len(r.faults) == faults:
		r.add(n, "test", "asserts nothing, must have one of %s", strings.Join(testKeys[1:], ", "))
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
		if err == nil && (len(p) != 1 || p[0].Deny || p[0].Kind == egress.All || p[0].Kind == egress.Observe ||
			p[0].Kind == egress.DNS) {
			err = fmt.Errorf("%q is not one peer, such as github.com:443", text)
		}
		return err
	}
}
