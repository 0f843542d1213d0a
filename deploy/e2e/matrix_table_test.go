package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The columns of the table: where a server is asked. By 127.0.0.1 and ::1 everybody means his own, but the neighbour host, which sends
// packets to 127.0.0.1 to the host.
var columns = [...]string{"address4", "address6", "host4", "host6", "127.0.0.1", "::1"}

var transports = [...]string{"tcp", "udp"}

// none is what a cell says if nobody answers.
const none = "-"

// cell is one question.
type cell struct{ server, asker, column, transport string }

// table says of each question what comes of it: none, or as whom the server sees the asker.
type table map[cell]string

// tableHead explains the file.
const tableHead = `# Who reaches whom, and as whom the server sees the asker. There is a block for each server, a row for each asker. The servers are
# published at the port that they listen on, by TCP and UDP, so that one number is right everywhere. The columns:
#
#   address4, address6   the container's own addresses
#   host4, host6         the published port at the host's address
#   127.0.0.1, ::1       the port at the asker's own loopback; the neighbour host sends packets for 127.0.0.1 to the host
#
# and what stands in them:
#
#   own       answered, and the server sees the asker's own address, the host's being that of its outer interface
#   bridge    answered, and the server sees its network's bridge
#   lo        answered, and the server sees the loopback address
#   -         no answer: refused or dropped
#   host      answered, and the server sees the host's address; whole: that one which belongs to a container
#   .         is not asked
#   tcp/udp   what comes of it by TCP, and by UDP, where that is not the same
`

// print writes the table, rows in the order in which they are asked.
func (t table) print() string {
	var b strings.Builder
	b.WriteString(tableHead)
	for _, s := range servers() {
		fmt.Fprintf(&b, "\n== %s: %s\n%-16s", s.name, s.what, "")
		for _, c := range columns {
			fmt.Fprintf(&b, " %-10s", c)
		}
		for _, asker := range s.askers() {
			fmt.Fprintf(&b, "\n%-16s", asker)
			for _, c := range columns {
				tcp, udp := t[cell{s.name, asker, c, "tcp"}], t[cell{s.name, asker, c, "udp"}]
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

// parseTable reads what print writes.
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
			asker := strings.Join(f[:len(f)-len(columns)], " ")
			for i, word := range f[len(f)-len(columns):] {
				if word == "." {
					continue
				}
				tcp, udp, differ := strings.Cut(word, "/")
				if !differ {
					udp = tcp
				}
				t[cell{server, asker, columns[i], "tcp"}], t[cell{server, asker, columns[i], "udp"}] = tcp, udp
			}
		}
	}
	return t
}

// compare tells every cell that differs, and every one that only one of the two has.
func compare(t *testing.T, want, got table) {
	t.Helper()
	for _, c := range sorted(want, got) {
		if want[c] != got[c] {
			t.Errorf("%s asks %s by %s at %s: got %q, want %q", c.asker, c.server, c.transport, c.column, got[c], want[c])
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

// behindFirewall are the questions that nothing but the firewall, and that isolated networks have no way out, keeps from being answered:
// those to a container's own address or to another machine. What containers of one bridge send each other no firewall sees.
func (t table) behindFirewall() table {
	questions := table{}
	for c, word := range t {
		toContainer := strings.HasPrefix(c.column, "address") && c.asker != "same network"
		toMachine := strings.HasPrefix(c.column, "host") && serverNamed(c.server).network == ""
		toLoopback := c.column == "127.0.0.1" && c.asker == "neighbour host" && c.server == "host"
		if word == none && (toContainer || toMachine || toLoopback) {
			questions[c] = "own"
			if c.asker == "host" {
				questions[c] = "bridge"
			}
		}
	}
	return questions
}

// way is how somebody asks. Who is in a server's network asks as its neighbours do.
type way struct{ place, column, transport string }

func (c cell) way() way {
	place := serverNamed(c.server).place(c.asker)
	if s := serverNamed(strings.TrimPrefix(place, "joined to ")); s.network != "" {
		place = s.place("same network")
	}
	return way{place, c.column, c.transport}
}

// checkControls checks that each question that is not answered could be: without a firewall it is answered; or else whoever asks is
// answered by another server that he asks in the same way, and the server answers others by the same transport.
func (m *matrix) checkControls(t *testing.T, want, bare table) {
	t.Helper()
	compare(t, want.behindFirewall(), bare)
	asks, answers := map[way]bool{}, map[way]bool{}
	for _, answered := range []table{want, bare} {
		for c, word := range answered {
			if word != none {
				asks[c.way()] = true
				answers[way{c.server, version(c.column), c.transport}] = true
			}
		}
	}
	m.askThemselves(t, asks)
	for _, c := range sorted(want) {
		shown := bare[c] != "" || asks[c.way()] && answers[way{c.server, version(c.column), c.transport}]
		if want[c] == none && !shown {
			t.Errorf("%s asks %s by %s at %s: nothing shows that it could be answered", c.asker, c.server, c.transport, c.column)
		}
	}
}

// version is the kind of address that a column has.
func version(column string) string {
	if column == "127.0.0.1" || strings.HasSuffix(column, "4") {
		return "4"
	}
	return "6"
}
