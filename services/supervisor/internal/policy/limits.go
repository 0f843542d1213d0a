package policy

import (
	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// CheckLimits rejects limits of a container without a network of its own.
func CheckLimits(name string, mode container.Mode, l egress.Limits) error {
	if l.IsZero() {
		return nil
	}
	field := "max-connections"
	if l.Connections == 0 {
		field = "packets"
	}
	if with, joined := mode.Joined(); joined {
		return fault.New(fault.Invalid, container.Subject(name),
			"cannot have limits of connections and packets, as it "+
				"shares the network of container "+with, fault.WithField(field),
			fault.WithHint("set --%s on that container", field))
	}
	if mode == container.ModeHost || mode == container.ModeNone {
		return fault.New(fault.Invalid, container.Subject(name),
			"connections and packets cannot be limited on network "+
				string(mode), fault.WithField(field), fault.WithHint("use a bridge network"))
	}
	return nil
}
