package nftables

import "github.com/fairlead/fairlead/proto/port"

// sourceElements returns the elements of the allowed sources; none if all sources are allowed.
func sourceElements(b port.Binding) []element {
	if b.Sources == "" {
		return nil
	}

	limit, from := limitSets(b)
	first, last := "", ""
	if !b.HostIP.IsUnspecified() {
		first = string(b.HostIP.AsSlice())
		last = first
	}

	if !b.IsAddress() {
		proto := string([]byte{b.Protocol.Number(), 0, 0, 0})
		first, last = first+proto+padded(b.Host.First), last+proto+padded(b.Host.Last)
	}

	out := []element{{set: limit, key: first}}
	if !b.IsAddress() {
		out[0].keyEnd = last
	}

	for _, p := range b.Sources.Prefixes() {
		out = append(out, element{set: from, key: first + string(p.Addr().AsSlice()),
			keyEnd: last + string(lastOf(p).AsSlice())})
	}

	return out
}

// limitSets returns the two sets for the allowed sources of a binding.
func limitSets(b port.Binding) (limit, from string) {
	v6 := b.HostIP.Is6()
	switch {
	case b.IsAddress() && v6:
		return setRestricted6Address, setAllowed6Address
	case b.IsAddress():
		return setRestricted4Address, setAllowed4Address
	case b.HostIP.IsUnspecified() && v6:
		return setRestricted6Any, setAllowed6Any
	case b.HostIP.IsUnspecified():
		return setRestricted4Any, setAllowed4Any
	case v6:
		return setRestricted6, setAllowed6
	}

	return setRestricted4, setAllowed4
}
