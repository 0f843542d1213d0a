package netagent

import (
	"strings"
	"testing"
)

// A host asks for a second or more whether somebody has an IPv6 address before it takes it for its own, and cannot use it until then.
func TestHostReachesContainerAfterDAD(t *testing.T) {
	a := newHost(t).run()
	lan := a.cable()
	lan.has("fd09::1/64")
	a.ns.Run("sysctl", "-qw", "net.ipv6.conf.lan0.dad_transmits=4")
	a.onLAN("macvlan", nil, "10.9.0.0/24", "fd09::/64")
	a.ns.Run("ip", "addr", "add", "fd09::5/64", "dev", "lan0")
	sb := a.create(onNetwork("lan", ""))
	ip := sb.Endpoints[0].IPv6.Addr().String()
	a.eventually("the host's way leads from its own address", func() bool {
		return strings.Contains(a.ns.Run("ip", "-6", "route", "show", ip), " src fd09::5 ")
	})
	a.mustReach(sb.NetnsPath, "fd09::5")
	a.release(sb)
}
