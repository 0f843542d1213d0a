package portspec

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/agent/sources"
	"github.com/fairlead/fairlead/proto/fault"
)

// Address is what one --publish-address asks for. Unless it is Incoming only, what the container sends out leaves as it.
type Address struct {
	HostIP  netip.Addr
	NoSNAT  bool
	Sources sources.Set // who may connect
}

// ParseAddress reads IP[,outgoing=false][,from=NETWORK]….
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
			return Address{}, fault.Invalidf(subject, "publish_address", "unknown option %q: only outgoing=true, outgoing=false and from=NETWORK are known", option)
		}
		a.NoSNAT = !outgoing
	}
	if a.Sources, err = sources.Parse(from); err != nil {
		return Address{}, fault.Invalidf(subject, "publish_address", "%s", err)
	}
	return a, nil
}
