package resolvconf

import (
	"net/netip"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxDomain is the longest domain name that DNS can carry, without a final dot.
const maxDomain = 253

// domain is labels of letters, digits, '-' and '_', that neither start nor end with '-'.
var domain = regexp.MustCompile(`^[a-zA-Z0-9_]([a-zA-Z0-9_-]*[a-zA-Z0-9_])?(\.[a-zA-Z0-9_]([a-zA-Z0-9_-]*[a-zA-Z0-9_])?)*\.?$`)

// ValidSearch tells whether s can be a search domain. "." is one: it means none.
func ValidSearch(s string) bool {
	return s == "." || len(strings.TrimSuffix(s, ".")) <= maxDomain && domain.MatchString(s)
}

// ValidOption tells whether s can stand in the file as one option.
func ValidOption(s string) bool { return isWord(s) }

// ParseServer reads a server's address. It may have a zone, but only one that can stand in the file as one word.
func ParseServer(s string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" && !isWord(addr.Zone()) {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}

// isWord tells whether s is printable and has no white space, so that it cannot end the line or the list that it stands in.
func isWord(s string) bool {
	return s != "" && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	})
}
