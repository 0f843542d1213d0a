package tunnelkey

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// now is the time of all tests. A key is old after an hour.
var now = time.Unix(1_800_000_000, 0)

// own parses the keys of a host: "5 6-" has the generations 5 and 6; - means withdrawn, ! an old key.
func own(text string) (all []Own) {
	for _, w := range strings.Fields(text) {
		o := Own{Created: now, Withdrawn: strings.Contains(w, "-")}
		if strings.Contains(w, "!") {
			o.Created = now.Add(-time.Hour)
		}
		_, _ = fmt.Sscan(strings.Trim(w, "-!"), &o.Generation)
		all = append(all, o)
	}
	return all
}

// state parses other hosts: "b:5,6>5" is linked, has published 5 and 6, and packets are sent with 5;
// * marks a connected generation, and a host without > is not linked.
func state(mine, others string) State {
	s := State{Own: own(mine), Now: now, Lifetime: time.Hour, Connected: map[Link]bool{}, Sending: map[string]uint64{}}
	for _, w := range strings.Fields(others) {
		id, rest, _ := strings.Cut(w, ":")
		keys, sends, linked := strings.Cut(rest, ">")
		h := Host{ID: id, Linked: linked}
		for _, k := range strings.FieldsFunc(keys, func(r rune) bool { return r == ',' }) {
			var p Public
			_, _ = fmt.Sscan(strings.TrimSuffix(k, "*"), &p.Generation)
			h.Keys = append(h.Keys, p)
			s.Connected[Link{id, p.Generation}] = strings.HasSuffix(k, "*")
		}
		if n := uint64(0); sends != "" {
			_, _ = fmt.Sscan(sends, &n)
			s.Sending[id] = n
		}
		s.Hosts = append(s.Hosts, h)
	}
	return s
}

// text returns a plan in a short form.
func (p Plan) text() string {
	out := ""
	if p.Create > 0 {
		out += fmt.Sprintf("create %d ", p.Create)
	}
	for name, list := range map[string][]uint64{"withdraw": p.Withdraw, "delete": p.Delete} {
		if len(list) > 0 {
			out += fmt.Sprintf("%s %d ", name, list[0])
		}
	}
	for _, l := range p.Links {
		used := ""
		if p.Send[l.Host] == l.Generation {
			used = ">"
		}
		out += fmt.Sprintf("%s%d%s ", l.Host, l.Generation, used)
	}
	return strings.TrimSpace(out)
}

func TestPlans(t *testing.T) {
	for _, c := range []struct{ name, own, hosts, want string }{
		{"first host", "", "", "create 1"},
		{"joins a fleet", "", "b:7> c:", "create 7"},
		{"joins during a change", "", "b:7,8> c:7", "create 8"},
		{"nothing to do", "7", "b:7*>7 c:", "b7>"},
		{"not linked", "7", "b:7", ""},
		{"no session yet", "7", "b:7>", "b7>"},
		{"old key", "7!", "b:7*>7 c:7", "create 8 b7>"},
		{"old key, another host is late", "7!", "b:7*>7 c:6,7", "b7>"},
		{"old key, another host is behind", "7!", "b:7*>7 c:6", "b7>"},
		{"old key, hosts without tunnels do not count", "7!", "b:7*>7 c:", "create 8 b7>"},
		{"another host begins", "7", "b:7*,8>7", "create 8 b7>"},
		{"both keys, no session with the new one", "7 8", "b:7*,8>7", "b7> b8"},
		{"both keys, session with the new one", "7 8", "b:7*,8*>7", "b7 b8>"},
		{"both keys, no session at all", "7 8", "b:7,8>7", "b7 b8>"},
		{"both keys, new one in use", "7 8", "b:7*,8*>8", "withdraw 7 b7 b8>"},
		{"both keys, one host still gets the old one", "7 8", "b:7*,8*>8 c:7*,8>7", "b7 c7> b8> c8"},
		{"both keys, a host has only the old one", "7 8", "b:7*,8*>8 c:7", "b7 b8>"},
		{"other host has withdrawn", "7 8", "b:8*>8", "withdraw 7 b8>"},
		{"withdrawn, another host still has it", "7- 8", "b:7*,8*>8", "b7 b8>"},
		{"withdrawn, and its tunnel seems better", "7- 8", "b:7*,8>8", "b7 b8>"},
		{"withdrawn by all", "7- 8", "b:8*>8 c:8", "delete 7 b8>"},
		{"alone", "7 8", "", "withdraw 7"},
		{"alone, old key", "7!", "", "create 8"},
		{"far behind", "7", "b:12,13>", "create 13 delete 7"},
		{"behind by two", "6", "b:7,8>", "create 8 delete 6"},
		{"others have begun the next change", "6- 7", "b:7*,8>7 c:6,7", "create 8 delete 6 b7>"},
		{"no common generation", "8", "b:7>7", ""},
	} {
		if got := state(c.own, c.hosts).Next().text(); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestSlotsOfAdjacentGenerationsDiffer(t *testing.T) {
	for g := range uint64(10) {
		if Slot(g) == Slot(g+1) || Slot(g) >= Slots {
			t.Errorf("generation %d: slot %d, next %d", g, Slot(g), Slot(g+1))
		}
	}
}

// published returns the keys of a host as others see them.
func published(all []Own) (out []Public) {
	for _, o := range all {
		if !o.Withdrawn {
			out = append(out, Public{Generation: o.Generation})
		}
	}
	return out
}

func generations(all []Own) []uint64 {
	var out []uint64
	for _, o := range all {
		out = append(out, o.Generation)
	}
	slices.Sort(out)
	return out
}

func keysOf(links map[Link]bool) []Link {
	return slices.SortedFunc(maps.Keys(links), func(a, b Link) int {
		return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
	})
}
