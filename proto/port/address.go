package port

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Address is one --publish-address: a request to forward all traffic for a host address to the
// container. Unless NoSNAT is set, it is also the source of the container's outgoing traffic.
type Address struct {
	HostIP  netip.Addr
	NoSNAT  bool    `json:",omitempty"`
	Sources Sources `json:",omitempty"` // allowed sources
}

// ParseAddress parses IP[,snat=false][,from=CIDR].... It does not check that a host can have the
// address; Validate does.
func ParseAddress(spec string) (Address, error) {
	subject := "--publish-address " + spec
	text, options, more := strings.Cut(spec, ",")
	ip, err := parseHostIP(text)
	if err != nil || !ip.IsValid() {
		return Address{}, fault.Invalidf(subject, addressField, "invalid IP address: %s", text)
	}

	a := Address{HostIP: ip}
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
		snat, err := strconv.ParseBool(value)
		if key != "snat" || err != nil {
			return Address{}, unknownOption(subject, option)
		}
		a.NoSNAT = !snat
	}

	if a.Sources, err = ParseSources(from); err != nil {
		return Address{}, fault.Invalidf(subject, addressField, "%s", err)
	}

	return a, nil
}

const addressField = "publish_address"

// unknownOption returns the fault for an option of --publish-address. The option snat was once
// named outgoing.
func unknownOption(subject, option string) error {
	opts := []fault.Option{fault.WithField(addressField)}
	if value, former := strings.CutPrefix(option, "outgoing="); former {
		opts = append(opts, fault.WithHint("did you mean snat=%s?", value))
	}
	return fault.New(fault.Invalid, subject,
		fmt.Sprintf("unknown option %q: use snat=true, snat=false or from=CIDR", option), opts...)
}

// Validate checks that a host can have the address. The error has no subject.
func (a Address) Validate() error {
	ip := a.HostIP
	switch {
	case !ip.IsValid() || ip.Zone() != "" || ip.Is4In6():
		return fmt.Errorf("invalid IP address: %s", ip)
	case ip.IsUnspecified(), ip.IsLoopback(), ip.IsMulticast(), ip.Is6() && ip.IsLinkLocalUnicast():
		return fmt.Errorf("address %s cannot be published", ip)
	}
	return nil
}

// String returns the address in the syntax of ParseAddress.
func (a Address) String() string {
	s := a.HostIP.String()
	if a.NoSNAT {
		s += ",snat=false"
	}
	for _, from := range a.Sources.Strings() {
		s += ",from=" + from
	}
	return s
}
