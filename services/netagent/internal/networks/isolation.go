package networks

import (
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// checkApart refuses a network whose containers are to be kept apart where the kernel cannot do that.
func (m *Manager) checkApart(n *network.Network) error {
	if n.InterContainer {
		return nil
	}
	return IsolationFault(n.Subject(), "options", m.Isolates())
}

// IsolationFault is the fault of asking for what keeps containers apart; nil where why is nil.
func IsolationFault(subject, field string, why error) error {
	if why == nil {
		return nil
	}
	return fault.New(fault.Unavailable, subject, "its containers cannot be kept apart: "+why.Error(), fault.WithField(field),
		fault.WithHint("a kernel of 4.18 or later has isolated ports of bridges; or let them reach each other"))
}
