package lease

import (
	"slices"
	"strings"
)

const (
	// maxName is the maximum length of a DNS name in text form without a final dot.
	maxName = 253
	// maxSearch limits the search domains, because each one costs a query per name.
	maxSearch = 16
	// pointer marks a two-byte compression pointer (RFC 1035, 4.1.4).
	pointer = 0xc0
)

// FilterSearch returns the valid search domains without duplicates, at most maxSearch. It drops the
// rest, because any host on the LAN can send them.
func FilterSearch(received []string) []string {
	var out []string
	for _, s := range received {
		s = strings.TrimSuffix(s, ".")
		if validDomain(s) && !slices.ContainsFunc(out, func(o string) bool { return strings.EqualFold(o, s) }) {
			if out = append(out, s); len(out) == maxSearch {
				break
			}
		}
	}
	return out
}

// validDomain reports whether s is a valid domain name. Its labels are letters, digits, '-' and
// '_', and neither start nor end with '-'.
func validDomain(s string) bool {
	if len(s) > maxName {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, invalidRune) {
			return false
		}
	}
	return true
}

func invalidRune(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
}

// Names decodes a list of DNS names with compression pointers (RFC 1035, 3.1 and 4.1.4; RFC 3397).
// It stops at the first malformed name. It does not validate the labels.
func Names(data []byte) []string {
	var out []string
	for at := 0; at < len(data) && len(out) < 2*maxSearch; {
		name, next, ok := nameAt(data, at)
		if !ok {
			break
		}
		if at = next; name != "" { // skip the root name, which is used as padding
			out = append(out, name)
		}
	}

	return out
}

// nameAt decodes one name and returns the offset of the next one. Each pointer must point before
// the previous one, so that decoding terminates.
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
