package zone

import (
	"net/netip"
	"strings"
)

// wildcard is the first label of a wildcard name with its dot.
const wildcard = "*."

// LookupWildcard returns the addresses of the containers whose wildcard name, such as "*.dev.example",
// is the nearest above a name. The results are those of Lookup.
func (z *Zone) LookupWildcard(client, name string, want func(netip.Addr) bool) (found []netip.Addr, ok bool) {
	s := z.snapshot()
	if s.wildcards == 0 {
		return nil, false
	}
	c, exists := s.containers.get(client)
	if !exists {
		return nil, false
	}
	for name = lowerASCII(name); ; {
		i := strings.IndexByte(name, '.')
		if i < 0 {
			return nil, false
		}
		name = name[i+1:]
		if found, ok = s.find(c, wildcard+name, "", want, anyHost); ok {
			return found, true
		}
	}
}
