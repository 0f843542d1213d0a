package container

import (
	"fmt"

	"github.com/fairlead/fairlead/proto/fault"
)

// ValidateBandwidth rejects a limit that is not valid or cannot be enforced. Drivers of networks are
// checked by netagent.
func (c *Config) ValidateBandwidth() error {
	limit := c.Network.Bandwidth
	if err := limit.Validate(); err != nil {
		return fault.New(fault.Invalid, c.subject(), err.Error(), fault.WithField("bandwidth"))
	}
	if !limit.IsLimited() {
		return nil
	}

	if with, joined := c.Network.Mode.Joined(); joined {
		return fault.New(fault.Invalid, c.subject(), "cannot have a bandwidth limit, as it shares the network of "+
			"container "+with, fault.WithField("bandwidth"), fault.WithHint("set --bandwidth on that container"))
	}
	if c.Network.Mode == ModeHost || c.Network.Mode == ModeNone {
		return fault.New(fault.Invalid, c.subject(), fmt.Sprintf("bandwidth cannot be limited on network %s",
			c.Network.Mode), fault.WithField("bandwidth"), fault.WithHint("use a bridge network"))
	}
	return nil
}
