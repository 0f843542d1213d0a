package container

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/ctl/internal/format"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// portRange is a value of --filter publish= or expose=: PORT[-END][/PROTO].
type portRange struct {
	first, last uint32
	protocol    string
}

func parsePorts(text string) (r portRange, err error) {
	ports, protocol, ok := strings.Cut(text, "/")
	if r.protocol = protocol; !ok {
		r.protocol = "tcp"
	}

	from, to, ranged := strings.Cut(ports, "-")
	if !ranged {
		to = from
	}

	first, err1 := strconv.ParseUint(from, 10, 16)
	last, err2 := strconv.ParseUint(to, 10, 16)
	if err1 != nil || err2 != nil || last < first {
		return r, fmt.Errorf("%q is not a valid port range: use PORT[-END][/PROTO]", text)
	}

	r.first, r.last = uint32(first), uint32(last)
	return r, nil
}

// meets reports whether two ranges overlap.
func (r portRange) meets(protocol string, first, last uint32) bool {
	return protocol == r.protocol && first <= r.last && max(first, last) >= r.first
}

// fitsPorts reports whether the published and exposed ports of a container match. As in Docker, a
// published port matches by its host port or its container port.
func (f filter) fitsPorts(c *containerv1.Container) bool {
	published := func(r portRange) bool {
		for _, b := range c.GetBindings() {
			protocol := format.Protocol(b.GetProtocol())
			length := format.LastPort(b) - b.GetContainerPort()
			if r.meets(protocol, b.GetHostPort(), b.GetHostPort()+length) ||
				r.meets(protocol, b.GetContainerPort(), format.LastPort(b)) {
				return true
			}
		}
		return false
	}
	exposed := func(r portRange) bool {
		for _, e := range c.GetExposed() {
			if r.meets(format.Protocol(e.GetProtocol()), e.GetPort(), e.GetPortEnd()) {
				return true
			}
		}
		return published(r)
	}
	return anyOf(f.ports["publish"], published) && anyOf(f.ports["expose"], exposed)
}
