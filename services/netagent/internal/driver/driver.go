// Package driver holds the contract of the network drivers and what they share: container
// interfaces, faults and announcements. The drivers are in the packages below it. Packages attach,
// bringup, leases and sandbox call them through the contract only.
package driver

import (
	"errors"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// ContainerInterface returns the desired state of an endpoint's interface. The driver completes it.
func ContainerInterface(e endpoint.Endpoint) kernel.Interface {
	i := kernel.Interface{Name: e.Interface, Addresses: slices.Concat(e.Addresses(), e.LinkLocals()),
		Gateways: e.Gateways()}
	for _, r := range e.Routes {
		i.Routes = append(i.Routes, kernel.DHCPRoute{Interface: e.Interface, To: r.To, Via: r.Via})
	}
	for _, s := range e.InterfaceSysctls() {
		i.Sysctls = append(i.Sysctls, kernel.Sysctl{Path: s.Path, Value: s.Value})
	}
	return i
}

// AttachFault returns the fault for a failed attach. A sysctl that the kernel rejects is a fault of
// the request.
func AttachFault(n network.Network, e endpoint.Endpoint, err error) error {
	if bad := (*kernel.SysctlError)(nil); errors.As(err, &bad) {
		return fault.New(fault.Invalid, n.Subject(),
			"sysctl "+strings.ReplaceAll(bad.Path, "/", ".")+"="+bad.Value+" cannot be set: "+bad.Err.Error(),
			fault.WithField("driver-opt"), fault.WithHint("use a parameter and a value that the kernel accepts"))
	}
	return fault.Wrap(err, fault.Internal, n.Subject(), "cannot attach "+e.Interface)
}
