// Package apiversion compares versions of the Docker Engine API. It performs no I/O.
package apiversion

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Version is a version of the API, such as 1.41.
type Version struct{ Major, Minor int }

// V returns the version 1.minor.
func V(minor int) Version { return Version{1, minor} }

// oldest is served too: Debian's skopeo requests it to save and load images, which have not changed since.
var oldest = V(22)

// Min and Max are the versions that the engine serves. Max also applies to requests without a version.
var (
	Min = V(24)
	Max = V(56)
)

// Parse parses MAJOR.MINOR.
func Parse(text string) (v Version, ok bool) {
	major, minor, found := strings.Cut(text, ".")
	if v.Major, ok = number(major); !ok || !found {
		return Version{}, false
	}
	v.Minor, ok = number(minor)
	return v, ok
}

// number parses up to four digits.
func number(text string) (int, bool) {
	n, err := strconv.ParseUint(text, 10, 16)
	return int(n), err == nil && len(text) <= 4
}

// String formats the version as MAJOR.MINOR.
func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// Compare returns a negative number if v is lower than other, and a positive one if it is higher.
func (v Version) Compare(other Version) int {
	return cmp.Or(cmp.Compare(v.Major, other.Major), cmp.Compare(v.Minor, other.Minor))
}

// Before reports whether v is lower than 1.minor.
func (v Version) Before(minor int) bool { return v.Compare(V(minor)) < 0 }

// AtLeast reports whether v is 1.minor or higher.
func (v Version) AtLeast(minor int) bool { return !v.Before(minor) }

// Check returns Docker's message for a version that is not served. It is empty for all other versions.
func (v Version) Check() string {
	switch {
	case v.Compare(Max) > 0:
		return fmt.Sprintf("client version %s is too new. Maximum supported API version is %s", v, Max)
	case v.Compare(oldest) < 0:
		return fmt.Sprintf("client version %s is too old. Minimum supported API version is %s, please upgrade your "+
			"client to a newer version", v, Min)
	}
	return ""
}
