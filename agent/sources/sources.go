// Package sources implements sets of allowed sources, as in `-p 8080:80,from=10.0.0.0/8`. It
// performs no I/O.
package sources

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Set is a sorted, comma-separated list of CIDRs without overlaps, so equivalent sets are equal.
// The empty set means every address.
type Set string

// Parse parses CIDRs and single addresses. The error names the invalid text.
func Parse(texts []string) (Set, error) {
	var all []netip.Prefix
	for _, t := range texts {
		p, err := parse(t)
		if err != nil {
			return "", err
		}
		all = append(all, p)
	}
	return normalize(all), nil
}

func parse(text string) (netip.Prefix, error) {
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

// normalize removes CIDRs that are contained in another one.
func normalize(all []netip.Prefix) Set {
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
	return Set(strings.Join(texts, ","))
}

// Strings returns the CIDRs.
func (s Set) Strings() []string {
	if s == "" {
		return nil
	}
	return strings.Split(string(s), ",")
}

// Union returns the set of addresses that are in s or o.
func (s Set) Union(o Set) Set {
	if s == "" || o == "" {
		return ""
	}
	return normalize(append(s.Prefixes(), o.Prefixes()...))
}

// Prefixes returns the CIDRs as prefixes.
func (s Set) Prefixes() []netip.Prefix {
	var out []netip.Prefix
	for _, t := range s.Strings() {
		if p, err := netip.ParsePrefix(t); err == nil { // always nil for the result of Parse
			out = append(out, p)
		}
	}
	return out
}

// Contains reports whether an address is in the set.
func (s Set) Contains(a netip.Addr) bool {
	return s == "" || slices.ContainsFunc(s.Prefixes(), func(p netip.Prefix) bool { return p.Contains(a) })
}

// ForFamily returns the part of the set in the address family of an address. It is empty if that is
// the whole family; ok is false if there is no such part.
func (s Set) ForFamily(family netip.Addr) (left Set, ok bool) {
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
	return normalize(some), len(some) > 0
}
