// Package platform reads and compares os/arch[/variant], as image indexes and users write it. It is pure.
package platform

import (
	"runtime"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Platform is an operating system on a processor.
type Platform struct{ OS, Arch, Variant string }

// Host is what this program runs on. The variant is left open: any that the index has will do, the best of them first.
func Host() Platform { return Platform{OS: runtime.GOOS, Arch: runtime.GOARCH} }

// String is os/arch[/variant].
func (p Platform) String() string {
	s := p.OS + "/" + p.Arch
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

var archNames = map[string]string{"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "armel": "arm", "i386": "386", "i686": "386"}

// Parse reads what a user writes: os/arch, os/arch/variant, or an architecture alone, which means Linux.
func Parse(s string) (Platform, error) {
	parts := strings.Split(strings.ToLower(s), "/")
	if len(parts) > 3 || slices.ContainsFunc(parts, bad) {
		return Platform{}, fault.Invalidf("platform "+s, "platform", "is not os/arch[/variant]; write it like linux/amd64 or linux/arm/v7")
	}
	if len(parts) == 1 {
		parts = []string{"linux", parts[0]}
	}
	if parts[0] != "linux" {
		return Platform{}, fault.Invalidf("platform "+s, "platform", "%s containers cannot run here", parts[0])
	}
	p := Platform{OS: parts[0], Arch: parts[1]}
	if a, ok := archNames[p.Arch]; ok {
		p.Arch = a
	}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p.normal(), nil
}

func bad(part string) bool {
	return part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789_.-") != ""
}

// normal leaves out the variants that say nothing.
func (p Platform) normal() Platform {
	if p.Arch == "arm64" && (p.Variant == "v8" || p.Variant == "8") || p.Arch == "amd64" && p.Variant == "v1" {
		p.Variant = ""
	}
	return p
}

// Satisfies tells whether something for p is what was wanted. No variant in want means any.
func (p Platform) Satisfies(want Platform) bool {
	p, want = p.normal(), want.normal()
	return p.OS == want.OS && p.Arch == want.Arch && (want.Variant == "" || p.Variant == want.Variant)
}

// Best gives the index of the one that fits best, or -1. Of several variants of ARM that all fit, it is the highest that the
// processor is sure to run; of others, the one without a variant.
func Best(have []Platform, want Platform) int {
	best := -1
	for i, p := range have {
		if p.Satisfies(want) && (best < 0 || rank(p) > rank(have[best])) {
			best = i
		}
	}
	return best
}

// rank orders variants: with no more than the architecture's name to go by, a plain entry is safest, then what is oldest but
// for ARM, where v7 is what anyone has today.
func rank(p Platform) int {
	switch v := p.normal().Variant; {
	case v == "":
		return 9
	case p.Arch == "arm":
		return map[string]int{"v7": 8, "v6": 7, "v5": 6}[v]
	case v == "v2":
		return 5
	}
	return 0
}
