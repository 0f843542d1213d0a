package config

import (
	"net/netip"
	"strconv"
	"strings"
)

// Prefix lengths of the smallest subnets with an address for a container besides the bridge.
const (
	narrowest4 = 30
	narrowest6 = 126
)

// addPool parses base=10.0.0.0/8,size=24.
func addPool(c *Config, text string) error {
	p, err := readPool(text)
	if err != nil {
		return err
	}
	narrowest := narrowest4
	if p.Base.Addr().Is6() {
		narrowest = narrowest6
	}
	switch {
	case p.Size < p.Base.Bits():
		return bad("use size "+strconv.Itoa(p.Base.Bits())+" or more, or a larger base",
			"subnets of size %d do not fit into %s",
			p.Size, p.Base)
	case p.Size > narrowest:
		return bad("use size "+strconv.Itoa(narrowest)+" or less", "subnets of size %d are too small for containers",
			p.Size)
	}
	for _, other := range c.Pools {
		if other.Base.Overlaps(p.Base) {
			return bad("remove one of them, or use a smaller one", "%s overlaps the pool %s", p.Base, other.Base)
		}
	}
	c.Pools = append(c.Pools, p)
	return nil
}

func readPool(text string) (Pool, error) {
	const want = "write base=10.0.0.0/8,size=24"
	var p Pool
	given := map[string]bool{}
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(part, "=")
		var err error
		switch name {
		case "base":
			p.Base, err = netip.ParsePrefix(value)
		case "size":
			p.Size, err = strconv.Atoi(value)
		default:
			return p, bad(want, "%q has the unknown member %q", text, name)
		}
		if err != nil || given[name] {
			return p, bad(want, "%q has no valid %s", text, name)
		}
		given[name] = true
	}
	base := p.Base.Addr()
	if !given["base"] || !given["size"] || !isFamily(4, base) && !isFamily(6, base) || p.Base.Bits() == 0 ||
		!usable(base) {
		return p, bad(want, "%q is not a valid address pool", text)
	}
	p.Base = p.Base.Masked()
	return p, nil
}
