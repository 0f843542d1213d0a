package port

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Sources are the allowed sources of a port: a sorted, comma-separated list of CIDRs without
// overlaps, so equivalent sets are equal. The empty set means every address.
type Sources string

// ParseSources parses CIDRs and single addresses. The error names the invalid text.
func ParseSources(texts []string) (Sources, error) {
	var all []netip.Prefix
	for _, t := range texts {
		p, err := parseSource(t)
		if err != nil {
			return "", err
		}
		all = append(all, p)
	}
	return normalizeSources(all), nil
}

func parseSource(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" && !a.Is4In6() {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil || p.Addr().Is4In6():
		return p, fmt.Errorf("invalid source %q: it should be a network such as 10.0.0.0/8, or an address", text)
	case p != p.Masked():
		return p, fmt.Errorf("invalid source %q: it should be %s", text, p.Masked())
	}
	return p, nil
}

// normalizeSources removes CIDRs that are contained in another one.
func normalizeSources(all []netip.Prefix) Sources {
	slices.SortFunc(all, netip.Prefix.Compare) // the shorter prefix of equal addresses first
	var texts []string
	var last netip.Prefix
	for _, p := range all {
		if last.IsValid() && last.Overlaps(p) {
			continue
		}
		last = p
		texts = append(texts, p.String())
	}
	return Sources(strings.Join(texts, ","))
}

// Strings returns the CIDRs.
func (s Sources) Strings() []string {
	if s == "" {
		return nil
	}
	return strings.Split(string(s), ",")
}

// Union returns the set of addresses that are in s or o.
func (s Sources) Union(o Sources) Sources {
	if s == "" || o == "" {
		return ""
	}
	return normalizeSources(append(s.Prefixes(), o.Prefixes()...))
}

// Prefixes returns the CIDRs as prefixes.
func (s Sources) Prefixes() []netip.Prefix {
	var out []netip.Prefix
	for _, t := range s.Strings() {
		if p, err := netip.ParsePrefix(t); err == nil { // always nil for the result of ParseSources
			out = append(out, p)
		}
	}
	return out
}

// Contains reports whether an address is in the set.
func (s Sources) Contains(a netip.Addr) bool {
	return s == "" || slices.ContainsFunc(s.Prefixes(), func(p netip.Prefix) bool { return p.Contains(a) })
}

// ForFamily returns the part of the set in the address family of an address. It is empty if that is
// the whole family; ok is false if there is no such part.
func (s Sources) ForFamily(family netip.Addr) (left Sources, ok bool) {
	if s == "" {
		return "", true
	}
	var some []netip.Prefix
	for _, p := range s.Prefixes() {
		if p.Addr().Is4() != family.Is4() {
			continue
		}
		if p.Bits() == 0 {
			return "", true
		}
		some = append(some, p)
	}
	return normalizeSources(some), len(some) > 0
}
