// Package sources is sets of networks that connections may come from, as `-p 8080:80,from=10.0.0.0/8` gives them. It is pure.
package sources

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Set is networks in CIDR form, sorted, none within another and joined by commas, so that sets that mean the same are equal. The empty
// one stands for every address.
type Set string

// Parse reads networks, or single addresses. The error names the text that is neither.
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

// normalize leaves out what is within another.
func normalize(all []netip.Prefix) Set {
	slices.SortFunc(all, netip.Prefix.Compare) // the wider of two that start alike comes first
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

// Strings are the networks in CIDR form.
func (s Set) Strings() []string {
	if s == "" {
		return nil
	}
	return strings.Split(string(s), ",")
}

// Union is the set of what is in either.
func (s Set) Union(o Set) Set {
	if s == "" || o == "" {
		return ""
	}
	return normalize(append(s.Prefixes(), o.Prefixes()...))
}

// Prefixes are the networks.
func (s Set) Prefixes() []netip.Prefix {
	var out []netip.Prefix
	for _, t := range s.Strings() {
		if p, err := netip.ParsePrefix(t); err == nil { // anything else was made by no Parse
			out = append(out, p)
		}
	}
	return out
}

// Contains tells whether an address is in the set.
func (s Set) Contains(a netip.Addr) bool {
	return s == "" || slices.ContainsFunc(s.Prefixes(), func(p netip.Prefix) bool { return p.Contains(a) })
}

// ForFamily gives what the set leaves of the family that an address is of: the empty set if that is all of it, and ok false if it is nothing.
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
