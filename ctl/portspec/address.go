package portspec

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/agent/fault"
)

// Address is what one --publish-address asks for. Unless it is Incoming only, what the container sends out leaves as it.
type Address struct {
	HostIP   netip.Addr
	Incoming bool
}

// ParseAddress reads IP[,outgoing=false].
func ParseAddress(spec string) (Address, error) {
	subject := "--publish-address " + spec
	text, options, more := strings.Cut(spec, ",")
	ip, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil || ip.Zone() != "" {
		return Address{}, fault.Invalidf(subject, "publish_address", "invalid IP address: %s", text)
	}
	a := Address{HostIP: ip.Unmap()}
	if !more {
		return a, nil
	}
	for option := range strings.SplitSeq(options, ",") {
		key, value, _ := strings.Cut(option, "=")
		outgoing, err := strconv.ParseBool(value)
		if key != "outgoing" || err != nil {
			return Address{}, fault.Invalidf(subject, "publish_address", "unknown option %q: only outgoing=true and outgoing=false are known", option)
		}
		a.Incoming = !outgoing
	}
	return a, nil
}
