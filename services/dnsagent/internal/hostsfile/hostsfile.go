// Package hostsfile renders /etc/hosts as a container finds it: the localhost names, then records in the order given.
//
// It knows the format only. Whose records they are, and where the file goes, is not its business.
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

// localhost4 and localhost6 are the lines that are always there, as Docker writes them.
const (
	localhost4 = "127.0.0.1\tlocalhost\n"
	localhost6 = "::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"fe00::\tip6-localnet\n" +
		"ff00::\tip6-mcastprefix\n" +
		"ff02::1\tip6-allnodes\n" +
		"ff02::2\tip6-allrouters\n"
)

// Render writes the file. Without ipv6 it has no IPv6 line at all, whatever the records are.
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

// Line returns the record as it is in the file.
func (r Record) Line() string { return r.Addr.String() + "\t" + strings.Join(r.Names, " ") + "\n" }

// NamesOf gives the names of a host's own line: the fully qualified one, and the bare one if that is another. The host name may
// hold the domain already, in whole or in part.
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

// ValidName tells whether a name can stand in the file as one name: anything printable without white space, and no '#', which
// would make a comment of the rest of the line.
func ValidName(name string) bool {
	return name != "" && utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool {
		return r == '#' || unicode.IsSpace(r) || !unicode.IsPrint(r)
	})
}
