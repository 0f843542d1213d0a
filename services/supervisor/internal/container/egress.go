package container

import (
	"cmp"
	"fmt"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
)

// ValidatePolicies rejects rules for traffic that are not valid or cannot be enforced.
func (c *Config) ValidatePolicies() error {
	out, outErr := egress.Parse(c.Network.Egress)
	in, inErr := egress.ParseIngress(c.Network.Ingress)
	return cmp.Or(c.validatePolicy("egress", out, outErr), c.validatePolicy("ingress", in, inErr))
}

// validatePolicy checks the rules of one direction. On the host's network they can only lift a default.
func (c *Config) validatePolicy(option string, p egress.Policy, err error) error {
	invalid := func(problem, hint string) error {
		return fault.New(fault.Invalid, c.subject(), problem, fault.WithField(option), fault.WithHint("%s", hint))
	}

	if err != nil {
		return invalid(option+" policy is not valid: "+err.Error(), "see fairlead policy --help")
	}
	with, joined := c.Network.Mode.Joined()
	switch {
	case p == nil:
		return nil
	case joined:
		return invalid("cannot have an "+option+" policy, as it shares the network of container "+with,
			"set --"+option+" on that container")
	case c.Network.Mode == ModeHost && (p.Restricts() || p.Observes()), c.Network.Mode == ModeNone:
		return invalid(fmt.Sprintf("%s policy cannot be enforced on network %s", option, c.Network.Mode),
			"use a bridge network")
	}
	return nil
}
