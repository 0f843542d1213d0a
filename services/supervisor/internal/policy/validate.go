package policy

import (
	"errors"
	"fmt"
	"path"
	"regexp"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
)

// validName matches names of policies.
var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

// Validate rejects a policy that is not valid. All errors are returned together.
func (p *Policy) Validate() error {
	var faults []error
	add := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if p.Selector.IsEmpty() {
		add("selects no container, use containers: [\"*\"] for all")
	}
	for _, pattern := range p.Selector.Containers {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			add("%q is not a pattern of container names", pattern)
		}
	}
	for _, label := range p.Selector.Labels {
		if _, _, err := egress.ParsePeer("label:" + label); err != nil {
			add("%w", err)
		}
	}
	if len(p.Egress)+len(p.Ingress) == 0 {
		add("has no rules, use egress or ingress")
	}
	if _, err := egress.Parse(p.Egress); err != nil {
		add("egress: %w", err)
	}
	if _, err := egress.ParseIngress(p.Ingress); err != nil {
		add("ingress: %w", err)
	}
	for _, t := range p.Tests {
		if err := t.validate(); err != nil {
			add("test of container %s: %w", t.Container, err)
		}
	}
	if !validName.MatchString(p.Name) {
		return fault.Invalidf("policy", "name", "%q is not a valid name of a policy, must be two or more letters, "+
			"digits, and _.-, starting with a letter or digit", p.Name)
	}
	if err := errors.Join(faults...); err != nil {
		return fault.New(fault.Invalid, "policy "+p.Name, err.Error())
	}
	return nil
}

func (t Test) validate() error {
	if t.Container == "" {
		return errors.New("names no container")
	}
	_, err := t.peer()
	return err
}

// peer parses the peer of a test.
func (t Test) peer() (egress.Rule, error) {
	parse := egress.Parse
	if t.Incoming {
		parse = egress.ParseIngress
	}
	p, err := parse([]string{t.Peer})
	switch {
	case err != nil:
		return egress.Rule{}, err
	case len(p) != 1 || p[0].Deny || p[0].Kind == egress.All || p[0].Kind == egress.Observe || p[0].Kind == egress.DNS:
		return egress.Rule{}, fmt.Errorf("%q is not one peer, such as github.com:443", t.Peer)
	}
	return p[0], nil
}
