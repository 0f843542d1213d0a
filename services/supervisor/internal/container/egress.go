package container

import (
	"fmt"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
)

// ValidateEgress rejects a policy that is not valid or cannot be enforced.
func (c *Config) ValidateEgress() error {
	invalid := func(problem, hint string) error {
		return fault.New(fault.Invalid, c.subject(), problem, fault.WithField("egress"), fault.WithHint("%s", hint))
	}

	if _, err := egress.Parse(c.Network.Egress); err != nil {
		return invalid("egress policy is not valid: "+err.Error(), "see fairlead policy --help")
	}
	with, joined := c.Network.Mode.Joined()
	switch {
	case len(c.Network.Egress) == 0:
		return nil
	case joined:
		return invalid("cannot have an egress policy, as it shares the network of container "+with,
			"set --egress on that container")
	case c.Network.Mode == ModeHost, c.Network.Mode == ModeNone:
		return invalid(fmt.Sprintf("egress policy cannot be enforced on network %s", c.Network.Mode),
			"use a bridge network")
	}
	return nil
}
