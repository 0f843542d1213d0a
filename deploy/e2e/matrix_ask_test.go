package e2e

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// askThemselves has those who ask others in vain at their own loopback ask themselves there, and notes where they are answered.
func (m *matrix) askThemselves(t *testing.T, answered map[way]bool) {
	t.Helper()
	for _, k := range kinds() {
		for _, at := range columns[4:] {
			for _, transport := range transports {
				place := "on " + k.name
				answers, err := m.askFrom(place, fmt.Sprintf("%s %s 5s\n", transport, netip.AddrPortFrom(netip.MustParseAddr(at), ownPort)))
				if err != nil || answers[0] != strings.ReplaceAll(place, " ", "-")+" sees "+at {
					t.Errorf("%s asks itself by %s at %s: %v, %v", place, transport, at, answers, err)
					continue
				}
				answered[way{place, at, transport}] = true
			}
		}
	}
}

// everything is every question there is, each with what a table says will come of it.
func everything(want table) table {
	all := table{}
	for _, s := range servers() {
		for _, row := range s.askers() {
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

// ask asks all questions of a table at once. What it says will come of one decides how long that is waited for.
func (m *matrix) ask(t *testing.T, questions table) table {
	t.Helper()
	lines, asked := map[string]*strings.Builder{}, map[string][]cell{}
	for c, want := range questions {
		s := serverNamed(c.server)
		from := s.place(c.asker)
		if lines[from] == nil {
			lines[from] = &strings.Builder{}
		}
		asked[from] = append(asked[from], c)
		_, _ = fmt.Fprintf(lines[from], "%s %s %s\n", c.transport, m.target(s, c.column), limit(want))
	}
	got := table{}
	var all sync.WaitGroup
	var mu sync.Mutex
	for from, text := range lines {
		all.Go(func() {
			answers, err := m.askFrom(from, text.String())
			mu.Lock()
			defer mu.Unlock()
			if err != nil || len(answers) != len(asked[from]) {
				t.Errorf("ask from %s: %v: %d answers to %d questions", from, err, len(answers), len(asked[from]))
				return
			}
			for i, c := range asked[from] {
				got[c] = m.word(c, from, answers[i])
			}
		})
	}
	all.Wait()
	return got
}

// limit is how long an answer is waited for. One that must come may take its time; for one that must not come that would be waste.
func limit(want string) string {
	switch want {
	case none:
		return "700ms"
	case "":
		return "2s"
	}
	return "8s"
}

// askFrom asks from one place.
func (m *matrix) askFrom(name, lines string) ([]string, error) {
	cmd := exec.CommandContext(m.ctx, "greet-many")
	cmd.Stdin = strings.NewReader(lines)
	var out strings.Builder
	cmd.Stdout = &out
	err := m.places[name].machine.Run(cmd)
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n"), err
}

// target is where a server is asked.
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

// word is what a cell says of an answer.
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
