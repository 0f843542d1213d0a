// Package driver is what the drivers of networks have in common.
package driver

import (
	"errors"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// ContainerInterface is how an endpoint's interface in the container shall be, but for what its driver adds.
func ContainerInterface(e network.Endpoint) kernel.Interface {
	i := kernel.Interface{Name: e.Interface, Addresses: slices.Concat(e.Addresses(), e.LinkLocals()), Gateways: e.Gateways()}
	for _, r := range e.Routes {
		i.Routes = append(i.Routes, kernel.DHCPRoute{Interface: e.Interface, To: r.To, Via: r.Via})
	}
	for _, s := range e.InterfaceSysctls() {
		i.Sysctls = append(i.Sysctls, kernel.Sysctl{Path: s.Path, Value: s.Value})
	}
	return i
}

// AttachFault says why an endpoint could not be made: a kernel parameter that the kernel does not take is the asker's fault.
func AttachFault(n network.Network, e network.Endpoint, err error) error {
	if bad := (*kernel.SysctlError)(nil); errors.As(err, &bad) {
		return fault.New(fault.Invalid, n.Subject(), "sysctl "+strings.ReplaceAll(bad.Path, "/", ".")+"="+bad.Value+" cannot be set: "+bad.Err.Error(),
			fault.WithField("driver-opt"), fault.WithHint("the kernel does not know it, or not this value"))
	}
	return fault.Wrap(err, fault.Internal, n.Subject(), "cannot attach "+e.Interface)
}
