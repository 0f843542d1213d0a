package networks

import (
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// checkIsolation rejects networks without ICC if the kernel does not support isolated ports.
func (m *Manager) checkIsolation(n *network.Network) error {
	if n.ICC() {
		return nil
	}
	return IsolationFault(n.Subject(), "options", m.isolates())
}

// IsolationFault returns the fault of a request for isolated ports. cause is the reason why they
// are not supported; nil returns nil.
func IsolationFault(subject, field string, cause error) error {
	if cause == nil {
		return nil
	}
	return fault.New(fault.Unavailable, subject, "its containers cannot be isolated: "+cause.Error(),
		fault.WithField(field),
		fault.WithHint("use Linux 4.18 or later, or enable ICC"))
}
