package portspec

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/agent/sources"
	"github.com/fairlead/fairlead/proto/fault"
)

// Address is one --publish-address. Unless NoSNAT is set, it is also the SNAT address of the
// container's outgoing traffic.
type Address struct {
	HostIP  netip.Addr
	NoSNAT  bool
	Sources sources.Set // allowed sources; empty: any
}

// ParseAddress parses IP[,outgoing=false][,from=CIDR]....
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

	var from []string
	for option := range strings.SplitSeq(options, ",") {
		key, value, _ := strings.Cut(option, "=")
		if key == "from" {
			from = append(from, value)
			continue
		}
		outgoing, err := strconv.ParseBool(value)
		if key != "outgoing" || err != nil {
			return Address{}, fault.Invalidf(subject, "publish_address",
				"unknown option %q: use outgoing=true, outgoing=false or from=CIDR", option)
		}
		a.NoSNAT = !outgoing
	}

	if a.Sources, err = sources.Parse(from); err != nil {
		return Address{}, fault.Invalidf(subject, "publish_address", "%s", err)
	}

	return a, nil
}
