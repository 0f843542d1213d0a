package resolvconf

import (
	"net/netip"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxDomain is the maximum length of a domain name, without a final dot.
const maxDomain = 253

// domain matches labels of letters, digits, '-' and '_' that neither start nor end with '-'.
var domain = regexp.MustCompile(`^[a-zA-Z0-9_]([a-zA-Z0-9_-]*[a-zA-Z0-9_])?(\.[a-zA-Z0-9_]([a-zA-Z0-9_-]*[a-zA-Z0-9_])?)*\.?$`)

// ValidSearch reports whether s is a valid search domain. "." is valid and means none.
func ValidSearch(s string) bool {
	return s == "." || len(strings.TrimSuffix(s, ".")) <= maxDomain && domain.MatchString(s)
}

// ValidOption reports whether s is valid as one option.
func ValidOption(s string) bool { return isWord(s) }

// ParseServer parses the address of a server. A zone must be a single printable word.
func ParseServer(s string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" && !isWord(addr.Zone()) {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}

// isWord reports whether s is printable and without white space.
func isWord(s string) bool {
	return s != "" && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	})
}
