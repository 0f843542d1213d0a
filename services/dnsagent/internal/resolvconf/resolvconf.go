// Package resolvconf parses, merges and renders /etc/resolv.conf.
//
// It determines which host settings work inside a container. It performs no I/O.
package resolvconf

import (
	"bytes"
	"net/netip"
	"strings"
)

// Conf holds the settings of a resolv.conf file.
type Conf struct {
	Search  []string     // domains to try, in order
	Servers []netip.Addr // name servers, in order
	Options []string     // for example "ndots:2"
}

// Parse parses a file as the C library does: unknown lines are ignored, "domain" is a search list
// of one, the last search list applies, and options accumulate.
func Parse(data []byte) Conf {
	var c Conf
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		if len(fields) < 2 || line[0] == '#' || line[0] == ';' {
			continue
		}
		switch values := fields[1:]; fields[0] {
		case "nameserver":
			if addr, err := netip.ParseAddr(values[0]); err == nil {
				c.Servers = append(c.Servers, addr.Unmap())
			}
		case "domain":
			c.Search = values[:1]
		case "search":
			c.Search = values
		case "options":
			c.Options = append(c.Options, values...)
		}
	}

	return c
}

// Render returns the file with search list, servers and options.
func (c Conf) Render() []byte {
	var b bytes.Buffer
	writeLine(&b, "search", c.Search)
	for _, s := range c.Servers {
		writeLine(&b, "nameserver", []string{s.String()})
	}
	writeLine(&b, "options", c.Options)
	return b.Bytes()
}

func writeLine(b *bytes.Buffer, keyword string, values []string) {
	if len(values) > 0 {
		b.WriteString(keyword + " " + strings.Join(values, " ") + "\n")
	}
}
