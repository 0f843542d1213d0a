package lease

import (
	"slices"
	"strings"
)

const (
	// maxName is how long a whole name in DNS may be, with dots in it and none at its end.
	maxName = 253
	// maxSearch is how many search domains are taken: more would be asked for each name in vain.
	maxSearch = 16
	// pointer marks two bytes that lead to where a name goes on, all but these bits of them (RFC 1035, 4.1.4).
	pointer = 0xc0
)

// FilterSearch is what is taken of the search domains that somebody on the LAN tells: names that can be one word of a file, each once, and not
// too many. The rest is left out, as whoever tells it may be anybody.
func FilterSearch(told []string) []string {
	var out []string
	for _, s := range told {
		s = strings.TrimSuffix(s, ".")
		if validDomain(s) && !slices.ContainsFunc(out, func(o string) bool { return strings.EqualFold(o, s) }) {
			if out = append(out, s); len(out) == maxSearch {
				break
			}
		}
	}
	return out
}

// validDomain tells whether a name is labels of letters, digits, '-' and '_' that neither start nor end with '-'.
func validDomain(s string) bool {
	if len(s) > maxName {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' || strings.ContainsFunc(label, foreign) {
			return false
		}
	}
	return true
}

func foreign(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
}

// Names reads names one after the other as they are in messages of DNS, with pointers back (RFC 1035, 3.1 and 4.1.4; RFC 3397). What is
// wrong, and what follows it, is left out. They are as they were on the wire: nothing has looked at what is in them.
func Names(data []byte) []string {
	var out []string
	for at := 0; at < len(data) && len(out) < 2*maxSearch; {
		name, next, ok := nameAt(data, at)
		if !ok {
			break
		}
		if at = next; name != "" { // that of the root, with which lists are filled up
			out = append(out, name)
		}
	}
	return out
}

// nameAt reads one name and answers where the next one begins. Each pointer must lead further back than the one before, so that there
// is an end.
func nameAt(data []byte, at int) (name string, next int, ok bool) {
	var labels []string
	length, back := 0, at
	for at < len(data) {
		n := int(data[at])
		switch {
		case n == 0:
			return strings.Join(labels, "."), max(next, at+1), true
		case n&pointer == pointer && at+1 < len(data):
			to := (n&^pointer)<<8 | int(data[at+1])
			if next == 0 {
				next = at + 2
			}
			if to >= back {
				return "", 0, false
			}
			at, back = to, to
		case n > maxLabel || at+1+n > len(data):
			return "", 0, false
		default:
			if length += n + 1; length > maxName+1 {
				return "", 0, false
			}
			labels = append(labels, string(data[at+1:at+1+n]))
			at += 1 + n
		}
	}
	return "", 0, false
}
