package netagent

import (
	"strings"
	"testing"
)

// DAD of the host's own IPv6 address takes a second or more. Until it completes, the host cannot use
// the address as source.
func TestHostReachesContainerAfterDAD(t *testing.T) {
	a := newHost(t).run()
	lan := a.connectLAN()
	lan.addAddresses("fd09::1/64")
	a.ns.Run("sysctl", "-qw", "net.ipv6.conf.lan0.dad_transmits=4")
	a.createLANNetwork("macvlan", nil, "10.9.0.0/24", "fd09::/64")
	a.ns.Run("ip", "addr", "add", "fd09::5/64", "dev", "lan0")
	sb := a.create(onNetwork("lan", ""))
	ip := sb.Endpoints[0].IPv6.Addr().String()
	a.eventually("the host route uses the host's address as source", func() bool {
		return strings.Contains(a.ns.Run("ip", "-6", "route", "show", ip), " src fd09::5 ")
	})

	a.mustReach(sb.NetnsPath, "fd09::5")
	a.release(sb)
}
