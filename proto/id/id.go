// Package id makes and reads the identifiers of containers, networks and endpoints: 64 lower-case hexadecimal digits, of
// which people see the first 12. It also finds things by what people type: a full id, a name, or a unique prefix of an id.
package id

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
)

// Len is how many digits an id has.
const Len = 64

// ShortLen is how many of them people see.
const ShortLen = 12

// New makes a random id. Its short form is never all decimal, so that it cannot be mistaken for a number.
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

// Valid tells whether s is an id.
func Valid(s string) bool { return len(s) == Len && isHex(s) }

// Short is the part of an id that people see.
func Short(s string) string { return s[:min(ShortLen, len(s))] }

func isHex(s string) bool {
	return s != "" && strings.Trim(s, "0123456789abcdef") == ""
}

// Match is how well a reference fits.
type Match int

// From worst to best.
const (
	None   Match = iota
	Prefix       // the reference starts the id
	Name         // the reference is the name
	Full         // the reference is the id
)

// Matches tells how ref fits a thing with this id and name.
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

// Find gives the thing that ref means: a full id before a name before a unique prefix. found is how many things fit equally
// well; the result only means something when it is 1.
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
