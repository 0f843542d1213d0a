package network

import (
	"slices"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
)

// CanLimit reports whether a driver enforces limits of bandwidth, packets and connections: the host must see all
// traffic of a container.
func CanLimit(driver string) bool {
	return slices.Contains([]string{DriverBridge, DriverOverlay}, driver)
}

// checkLimits rejects limits that are not valid, and networks where they cannot be enforced. The fleet does not keep
// limits of networks that span hosts.
func checkLimits(n Network, l egress.Defaults) error {
	if err := l.Validate(); err != nil {
		return fault.New(fault.Invalid, n.Subject(), "limits are not valid: "+err.Error(), fault.WithField("limits"))
	}

	switch {
	case n.Driver == DriverBridge, l == egress.Defaults{}, !l.IsLimited() && n.Driver != DriverOverlay:
		return nil
	}
	field, what := "bandwidth", "bandwidth"
	switch {
	case l.Bandwidth.IsGiven():
	case l.Limits.Packets != egress.Packets{}:
		field, what = "packets", "packets"
	default:
		field, what = "max-connections", "connections"
	}
	hint := "use a bridge network"
	if n.Driver == DriverOverlay {
		hint = "set --" + field + " on its containers"
	}
	return fault.New(fault.Invalid, n.Subject(), what+" cannot be limited by a network of driver "+n.Driver,
		fault.WithField(field), fault.WithHint("%s", hint))
}
