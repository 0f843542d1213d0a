package policy

import (
	"slices"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// IsInside reports whether the host does not see the traffic of an endpoint, so that rules about it are in the network
// namespace of its container.
func IsInside(e container.Endpoint) bool {
	return e.Bridge == "" && (e.Driver == "macvlan" || e.Driver == "ipvlan")
}

// Privileges returns the capabilities of a container with which a process can change the rules in its network namespace
// or send around them. CAP_NET_RAW is one of Docker's default ones.
func Privileges(s *container.Security) []string {
	return slices.DeleteFunc(s.Capabilities([]string{"CAP_NET_RAW"}),
		func(c string) bool { return c != "CAP_NET_ADMIN" && c != "CAP_NET_RAW" })
}
