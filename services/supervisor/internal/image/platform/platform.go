// Package platform parses and compares os/arch[/variant] of image indexes and users. It performs no
// I/O.
package platform

import (
	"runtime"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Platform is an operating system and a processor architecture.
type Platform struct{ OS, Arch, Variant string }

// Host returns the platform of this program. The variant is empty, so the best one of an index is
// selected.
func Host() Platform { return Platform{OS: runtime.GOOS, Arch: runtime.GOARCH} }

// String returns os/arch[/variant].
func (p Platform) String() string {
	s := p.OS + "/" + p.Arch
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

var archNames = map[string]string{"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm",
	"armel": "arm", "i386": "386", "i686": "386"}

// Parse parses user input: os/arch, os/arch/variant, or an architecture alone, which means Linux.
func Parse(s string) (Platform, error) {
	parts := strings.Split(strings.ToLower(s), "/")
	if len(parts) > 3 || slices.ContainsFunc(parts, bad) {
		return Platform{}, fault.Invalidf("platform "+s, "platform",
			"is not a valid os/arch[/variant], such as linux/amd64 or linux/arm/v7")
	}
	if len(parts) == 1 {
		parts = []string{"linux", parts[0]}
	}
	if parts[0] != "linux" {
		return Platform{}, fault.Invalidf("platform "+s, "platform", "%s containers are not supported", parts[0])
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

// normal removes the default variants.
func (p Platform) normal() Platform {
	if p.Arch == "arm64" && (p.Variant == "v8" || p.Variant == "8") || p.Arch == "amd64" && p.Variant == "v1" {
		p.Variant = ""
	}
	return p
}

// Satisfies reports whether p satisfies the wanted platform. An empty variant in want matches any.
func (p Platform) Satisfies(want Platform) bool {
	p, want = p.normal(), want.normal()
	return p.OS == want.OS && p.Arch == want.Arch && (want.Variant == "" || p.Variant == want.Variant)
}

// Same reports whether two platforms replace each other under one name: os and arch are equal, and
// the variants are too unless one is empty.
func Same(a, b string) bool {
	p, perr := Parse(a)
	q, qerr := Parse(b)
	if perr != nil || qerr != nil {
		return a == b
	}
	return p.OS == q.OS && p.Arch == q.Arch && (p.Variant == q.Variant || p.Variant == "" || q.Variant == "")
}

// Best returns the index of the best match, or -1. Among matching ARM variants that is the highest
// one the processor is sure to support. On other architectures it is the one without a variant.
func Best(have []Platform, want Platform) int {
	best := -1
	for i, p := range have {
		if p.Satisfies(want) && (best < 0 || rank(p) > rank(have[best])) {
			best = i
		}
	}
	return best
}

// rank orders variants. An entry without a variant is safest, then the oldest one. On ARM, v7 is
// preferred, which all current processors support.
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
