package e2e

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// callLoopbacks makes the containers of each network connect to their own loopback addresses, and
// marks these routes as answered.
func (m *matrix) callLoopbacks(t *testing.T, answered map[route]bool) {
	t.Helper()
	for _, k := range kinds() {
		for _, at := range columns[4:] {
			for _, transport := range transports {
				place := "on " + k.name
				to := netip.AddrPortFrom(netip.MustParseAddr(at), ownPort)
				answers, err := m.connectFrom(place, fmt.Sprintf("%s %s 5s\n", transport, to))
				if err != nil || answers[0] != strings.ReplaceAll(place, " ", "-")+" sees "+at {
					t.Errorf("%s, own loopback, %s to %s: got %v, %v", place, transport, at, answers, err)
					continue
				}
				answered[route{place, at, transport}] = true
			}
		}
	}
}

// everything returns all cells, with the results in want.
func everything(want table) table {
	all := table{}
	for _, s := range servers() {
		for _, row := range s.clients() {
			for _, column := range s.columns() {
				for _, transport := range transports {
					c := cell{s.name, row, column, transport}
					all[c] = want[c]
				}
			}
		}
	}

	return all
}

// connect makes all connections of a table concurrently and returns the results. The expected
// result determines the timeout.
func (m *matrix) connect(t *testing.T, cells table) table {
	t.Helper()
	lines, cellsOf := map[string]*strings.Builder{}, map[string][]cell{}
	for c, want := range cells {
		s := serverNamed(c.server)
		from := s.place(c.client)
		if lines[from] == nil {
			lines[from] = &strings.Builder{}
		}
		cellsOf[from] = append(cellsOf[from], c)
		_, _ = fmt.Fprintf(lines[from], "%s %s %s\n", c.transport, m.target(s, c.column), limit(want))
	}

	got := table{}
	var all sync.WaitGroup
	var mu sync.Mutex
	for from, text := range lines {
		all.Go(func() {
			answers, err := m.connectFrom(from, text.String())
			mu.Lock()
			defer mu.Unlock()
			if err != nil || len(answers) != len(cellsOf[from]) {
				t.Errorf("connect from %s: %v: got %d results, want %d", from, err, len(answers), len(cellsOf[from]))
				return
			}
			for i, c := range cellsOf[from] {
				got[c] = m.word(c, from, answers[i])
			}
		})
	}

	all.Wait()
	return got
}

// limit returns the timeout of a connection. It is short if no response is expected.
func limit(want string) string {
	switch want {
	case none:
		return "700ms"
	case "":
		return "2s"
	}
	return "8s"
}

// connectFrom makes the connections of one place.
func (m *matrix) connectFrom(name, lines string) ([]string, error) {
	cmd := exec.CommandContext(m.ctx, "greet-many")
	cmd.Stdin = strings.NewReader(lines)
	var out strings.Builder
	cmd.Stdout = &out
	err := m.places[name].machine.Run(cmd)
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n"), err
}

// target returns the address and port of a server for a column.
func (m *matrix) target(s server, column string) string {
	at := map[string]string{"host4": s.host4, "host6": s.host6, "127.0.0.1": "127.0.0.1", "::1": "::1"}[column]
	switch column {
	case "address4":
		at = m.places[s.name].own4.String()
	case "address6":
		at = m.places[s.name].own6.String()
	}
	return netip.AddrPortFrom(netip.MustParseAddr(at), uint16(s.port)).String()
}

// word returns the text of a cell for a response.
func (m *matrix) word(c cell, from, answer string) string {
	name, saw, ok := strings.Cut(answer, " sees ")
	if !ok {
		return none
	}

	if name != c.server {
		return answer
	}

	seen := netip.MustParseAddr(saw)
	own := m.places[from]
	if server := strings.TrimPrefix(from, "joined to "); server != from {
		own = m.places[server]
	}

	bridge4, bridge6 := bridges(serverNamed(c.server).network)
	switch seen {
	case own.own4, own.own6:
		return "own"
	case bridge4, bridge6:
		return "bridge"
	case m.places["host"].own4, m.places["host"].own6:
		return "host"
	case netip.MustParseAddr(wholeIPv4), netip.MustParseAddr(wholeIPv6):
		return "whole"
	case netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback():
		return "lo"
	}

	return saw
}
