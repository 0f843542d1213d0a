// Package hostsfile renders the /etc/hosts of containers: the localhost lines, then the given
// records in order.
//
// It implements the format only. Package registration chooses the records.
package hostsfile

import (
	"bytes"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Record is one line: an address and its names.
type Record struct {
	Addr  netip.Addr
	Names []string
}

// The fixed lines, as in Docker.
const (
	localhost4 = "127.0.0.1\tlocalhost\n"
	localhost6 = "::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"fe00::\tip6-localnet\n" +
		"ff00::\tip6-mcastprefix\n" +
		"ff02::1\tip6-allnodes\n" +
		"ff02::2\tip6-allrouters\n"
)

// Render returns the file. Without ipv6 it has no IPv6 lines.
func Render(records []Record, ipv6 bool) []byte {
	var b bytes.Buffer
	b.WriteString(localhost4)
	if ipv6 {
		b.WriteString(localhost6)
	}
	for _, r := range records {
		if len(r.Names) == 0 || r.Addr.Is6() && !ipv6 {
			continue
		}
		b.WriteString(r.Line())
	}
	return b.Bytes()
}

// Line returns the line of the file.
func (r Record) Line() string { return r.Addr.String() + "\t" + strings.Join(r.Names, " ") + "\n" }

// NamesOf returns the names of a host's own line: the qualified one, and the short one if it
// differs. The hostname can already include the domain.
func NamesOf(hostname, domainname string) []string {
	full := hostname
	if domainname != "" {
		full += "." + domainname
	}
	if bare, _, dotted := strings.Cut(full, "."); dotted && bare != "" {
		return []string{full, bare}
	}
	return []string{full}
}

// ValidName reports whether a name is valid in the file: printable, without white space and '#',
// which starts a comment.
func ValidName(name string) bool {
	return name != "" && utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool {
		return r == '#' || unicode.IsSpace(r) || !unicode.IsPrint(r)
	})
}
