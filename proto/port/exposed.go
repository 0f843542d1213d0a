package port

import (
	"fmt"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Exposed is one --expose or EXPOSE: ports that a container listens on.
type Exposed struct {
	Protocol Protocol
	Ports    Range
}

// ParseExposed parses PORT[-END][/PROTO]. The result is valid.
func ParseExposed(spec string) (Exposed, error) {
	e, err := parseExposed(spec)
	if err == nil {
		err = e.Validate()
	}
	if err != nil {
		return Exposed{}, fault.Invalidf("--expose "+spec, "expose", "%s", err)
	}
	return e, nil
}

func parseExposed(spec string) (e Exposed, err error) {
	if strings.Contains(spec, ":") {
		return e, fmt.Errorf("invalid port format for --expose: %s", spec)
	}

	number, proto, _ := strings.Cut(spec, "/")
	e.Protocol = parseProtocol(proto)
	if err := e.Protocol.validate(); err != nil {
		return e, err
	}

	var ok bool
	if e.Ports, ok = parseRange(number); !ok || e.Ports.validate("") != nil {
		return e, fmt.Errorf("invalid range format for --expose: %s", spec)
	}

	return e, nil
}

// Validate checks protocol and ports. The error has no subject.
func (e Exposed) Validate() error {
	if err := e.Protocol.validate(); err != nil {
		return err
	}
	if e.Ports.validate("") != nil {
		return fmt.Errorf("invalid range format for --expose: %s", e.Ports)
	}
	return nil
}

// String returns the ports in the syntax of ParseExposed.
func (e Exposed) String() string { return e.Ports.String() + "/" + string(e.Protocol) }
