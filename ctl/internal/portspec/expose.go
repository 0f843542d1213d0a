package portspec

import (
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Exposed is an exposed port or port range. End is 0 for one port.
type Exposed struct {
	Protocol string
	Port     uint16
	End      uint16
}

// ParseExposed parses PORT[-END][/PROTO].
func ParseExposed(spec string) (Exposed, error) {
	subject := "--expose " + spec
	if strings.Contains(spec, ":") {
		return Exposed{}, fault.Invalidf(subject, "expose", "invalid port format for --expose: %s", spec)
	}

	number, proto, _ := strings.Cut(spec, "/")
	p, err := protocol(proto)
	if err != nil {
		return Exposed{}, fault.Invalidf(subject, "expose", "%s", err)
	}

	first, last, ok := ports(number)
	if !ok || first == 0 {
		return Exposed{}, fault.Invalidf(subject, "expose", "invalid range format for --expose: %s", spec)
	}

	return Exposed{Protocol: p, Port: first, End: last}, nil
}
