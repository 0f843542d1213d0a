// Package resolvconf reads, merges and writes /etc/resolv.conf: parse, then transform, then render.
//
// It knows the format, and which of a host's settings mean something inside a container. It opens no file and asks no server.
package resolvconf

import (
	"bytes"
	"net/netip"
	"strings"
)

// Conf is what such a file says.
type Conf struct {
	Search  []string     // domains to try, in order
	Servers []netip.Addr // name servers, in order
	Options []string     // for example "ndots:2"
}

// Parse reads a file as the C library does: what it does not understand is left out, "domain" is a search list of one, the last
// search list wins, and options add up.
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

// Render writes the file: the search list, the servers, the options, and nothing else.
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
