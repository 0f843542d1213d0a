// Package id creates and parses the IDs of containers, networks and endpoints: 64 lower-case
// hexadecimal digits, of which the first 12 are displayed. It also finds objects by a full ID, a
// name, or a unique ID prefix.
package id

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
)

// Len is the number of digits of an ID.
const Len = 64

// ShortLen is the number of digits of a short ID.
const ShortLen = 12

// New returns a random ID. Its short form is never all decimal, so it cannot be mistaken for a
// number.
func New() string {
	for {
		var b [Len / 2]byte
		_, _ = rand.Read(b[:]) // crypto/rand.Read never fails
		s := hex.EncodeToString(b[:])
		if strings.ContainsAny(s[:ShortLen], "abcdef") {
			return s
		}
	}
}

// Valid reports whether s is an ID.
func Valid(s string) bool { return len(s) == Len && isHex(s) }

// Short returns the short form of an ID.
func Short(s string) string { return s[:min(ShortLen, len(s))] }

func isHex(s string) bool {
	return s != "" && strings.Trim(s, "0123456789abcdef") == ""
}

// Match is the quality of a match between a reference and an object.
type Match int

// The matches, worst first.
const (
	None   Match = iota
	Prefix       // the reference starts the id
	Name         // the reference is the name
	Full         // the reference is the id
)

// Matches returns how ref matches an object with the given ID and name.
func Matches(ref, id, name string) Match {
	switch {
	case ref == "":
		return None
	case ref == id:
		return Full
	case ref == name:
		return Name
	case isHex(ref) && strings.HasPrefix(id, ref):
		return Prefix
	}
	return None
}

// Find returns the best match for ref: a full ID before a name before an ID prefix. found is the
// number of equally good matches; the result is only valid if it is 1.
func Find[T any](all []T, ref string, key func(T) (id, name string)) (best T, found int) {
	fit := None
	for _, t := range all {
		tid, name := key(t)
		switch m := Matches(ref, tid, name); {
		case m == None || m < fit:
		case m > fit:
			fit, best, found = m, t, 1
		default:
			found++
		}
	}
	return best, found
}
