package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// columns lists the addresses that clients connect to. 127.0.0.1 and ::1 are those of the client,
// except that the neighbour host routes 127.0.0.1 to the host.
var columns = [...]string{"address4", "address6", "host4", "host6", "127.0.0.1", "::1"}

var transports = [...]string{"tcp", "udp"}

// none is the cell text for no response.
const none = "-"

// cell is a connection from a client to a server.
type cell struct{ server, client, column, transport string }

// table maps each cell to its result: none, or the address of the client that the server sees.
type table map[cell]string

// tableHead is the comment at the start of the file.
const tableHead = `# Reachability, and the address of the client that the server sees. There is a block for each server and a row for each client.
# The servers publish the port that they listen on, by TCP and UDP, so the port number is the same everywhere. Columns:
#
#   address4, address6   the container's own addresses
#   host4, host6         the published port at the address of the host
#   127.0.0.1, ::1       the port at the client's own loopback; the neighbour host routes 127.0.0.1 to the host
#
# Cells:
#
#   own       a response; the server sees the client's own address (of the host: that of its outer interface)
#   bridge    a response; the server sees the address of its bridge
#   lo        a response; the server sees the loopback address
#   -         no response: refused or dropped
#   host      a response; the server sees the address of the host; whole: the published address of a container
#   .         not tried
#   tcp/udp   the results for TCP and UDP, if they differ
`

// print formats the table.
func (t table) print() string {
	var b strings.Builder
	b.WriteString(tableHead)
	for _, s := range servers() {
		fmt.Fprintf(&b, "\n== %s: %s\n%-16s", s.name, s.what, "")
		for _, c := range columns {
			fmt.Fprintf(&b, " %-10s", c)
		}
		for _, client := range s.clients() {
			fmt.Fprintf(&b, "\n%-16s", client)
			for _, c := range columns {
				tcp, udp := t[cell{s.name, client, c, "tcp"}], t[cell{s.name, client, c, "udp"}]
				if tcp != udp {
					tcp += "/" + udp
				} else if tcp == "" {
					tcp = "."
				}
				fmt.Fprintf(&b, " %-10s", tcp)
			}
		}
		b.WriteString("\n")
	}

	lines := strings.Split(b.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}

	return strings.Join(lines, "\n")
}

// parseTable parses the output of print.
func parseTable(text string) table {
	t, server := table{}, ""
	for line := range strings.Lines(text) {
		name, isHead := strings.CutPrefix(line, "== ")
		f := strings.Fields(line)
		switch {
		case isHead:
			server, _, _ = strings.Cut(name, ":")
		case strings.HasPrefix(line, "#") || len(f) <= len(columns):
		default:
			client := strings.Join(f[:len(f)-len(columns)], " ")
			for i, word := range f[len(f)-len(columns):] {
				if word == "." {
					continue
				}
				tcp, udp, differ := strings.Cut(word, "/")
				if !differ {
					udp = tcp
				}
				t[cell{server, client, columns[i], "tcp"}], t[cell{server, client, columns[i], "udp"}] = tcp, udp
			}
		}
	}

	return t
}

// compare reports each cell that differs, or that only one table has.
func compare(t *testing.T, want, got table) {
	t.Helper()
	for _, c := range sorted(want, got) {
		if want[c] != got[c] {
			t.Errorf("%s to %s by %s at %s: got %q, want %q",
				c.client, c.server, c.transport, c.column, got[c], want[c])
		}
	}
}

func sorted(tables ...table) []cell {
	var all []cell
	for _, t := range tables {
		for c := range t {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b cell) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return slices.Compact(all)
}

// behindFirewall returns the cells without a response that get one without a firewall, once
// isolated networks have default routes: connections to the own address of a container or to
// another machine. Connections between containers of one bridge are not filtered.
func (t table) behindFirewall() table {
	cells := table{}
	for c, word := range t {
		toContainer := strings.HasPrefix(c.column, "address") && c.client != "same network"
		toMachine := strings.HasPrefix(c.column, "host") && serverNamed(c.server).network == ""
		toLoopback := c.column == "127.0.0.1" && c.client == "neighbour host" && c.server == "host"
		if word == none && (toContainer || toMachine || toLoopback) {
			cells[c] = "own"
			if c.client == "host" {
				cells[c] = "bridge"
			}
		}
	}

	return cells
}

// route identifies how a client connects. Containers that share the network of a server connect
// like other containers of the same bridge.
type route struct{ place, column, transport string }

func (c cell) route() route {
	place := serverNamed(c.server).place(c.client)
	if s := serverNamed(strings.TrimPrefix(place, "joined to ")); s.network != "" {
		place = s.place("same network")
	}
	return route{place, c.column, c.transport}
}

// checkControls checks that each connection without a response could succeed. Either it succeeds
// without a firewall; or the client gets a response from another server by the same route, and the
// server responds to other clients by the same transport.
func (m *matrix) checkControls(t *testing.T, want, bare table) {
	t.Helper()
	compare(t, want.behindFirewall(), bare)
	connected, answers := map[route]bool{}, map[route]bool{}
	for _, answered := range []table{want, bare} {
		for c, word := range answered {
			if word != none {
				connected[c.route()] = true
				answers[route{c.server, version(c.column), c.transport}] = true
			}
		}
	}

	m.callLoopbacks(t, connected)
	for _, c := range sorted(want) {
		shown := bare[c] != "" || connected[c.route()] && answers[route{c.server, version(c.column), c.transport}]
		if want[c] == none && !shown {
			t.Errorf("%s to %s by %s at %s: no control shows that it could succeed",
				c.client, c.server, c.transport, c.column)
		}
	}
}

// version returns the IP version of a column.
func version(column string) string {
	if column == "127.0.0.1" || strings.HasSuffix(column, "4") {
		return "4"
	}
	return "6"
}
