package sandbox

import (
	"errors"
	"slices"

	"github.com/fairlead/fairlead/proto/bandwidth"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/attach"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// SetBandwidth changes the limits of all endpoints of a sandbox. The record comes first: if the kernel
// does not have the limits yet, the next comparison applies them.
func (m *Manager) SetBandwidth(owner string, limit bandwidth.Limit) error {
	if err := errors.Join(endpoint.ValidateOwner(owner), m.Ready()); err != nil {
		return err
	}
	if err := limit.Validate(); err != nil {
		return fault.Invalidf(endpoint.SandboxSubject(owner), "bandwidth", "%s", err)
	}

	defer m.locks.Owner(owner)()
	sb, err := m.attach.Running(owner)
	if err != nil {
		return err
	}
	defer m.locks.ReadNetworks(sb.NetworkIDs()...)()

	after := sb
	after.Endpoints = slices.Clone(sb.Endpoints)
	for i, e := range after.Endpoints {
		if limit.IsLimited() && !network.CanLimit(e.Driver) {
			return fault.New(fault.Invalid, endpoint.SandboxSubject(owner),
				"option bandwidth is not supported by driver "+e.Driver+" of network "+e.NetworkName,
				fault.WithField("bandwidth"), fault.WithHint("disconnect that network first"))
		}
		after.Endpoints[i].Limited = e.IsLimited()
		after.Endpoints[i].Spec.Bandwidth = limit
	}
	if err := m.store.PutSandbox(after); err != nil {
		return err
	}
	return attach.Fault(m.namespaces.Within(sb.NetnsPath, func(ns namespace.Namespace) error {
		return m.attach.ApplyIn(ns, after)
	}), after)
}
