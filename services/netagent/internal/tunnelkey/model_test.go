package tunnelkey

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// machine is a host of the model. What it knows of the others can be old.
type machine struct {
	id    string
	own   []Own
	links map[Link]bool // peers in the kernel; true: with a session
	send  map[string]uint64
	seen  map[string][]Public // of other hosts, as delivered
}

// world is a fleet whose hosts decide independently, and learn of each other late.
type world struct {
	hosts   []*machine
	records map[string][]Public // the store
	now     time.Time
	changes int // keys that were created
}

func newWorld(count int) *world {
	w := &world{records: map[string][]Public{}, now: now}
	for i := range count {
		w.hosts = append(w.hosts, &machine{id: fmt.Sprint("h", i), links: map[Link]bool{}, send: map[string]uint64{},
			seen: map[string][]Public{}})
	}
	return w
}

// step makes a host apply one decision, in the order of package encryption.
func (w *world) step(m *machine) {
	s := State{Own: m.own, Connected: m.links, Sending: m.send, Now: w.now, Lifetime: time.Hour}
	for _, o := range w.hosts {
		if o != m {
			s.Hosts = append(s.Hosts, Host{ID: o.id, Keys: m.seen[o.id], Linked: true})
		}
	}
	p := s.Next()
	if p.Create != 0 {
		m.remove(p.Delete)
		m.own = append(m.own, Own{Generation: p.Create, Created: w.now})
		w.changes++
		w.records[m.id] = published(m.own)
		return
	}
	for _, l := range p.Links {
		if _, ok := m.links[l]; !ok {
			m.links[l] = false
		}
	}
	w.handshake()
	m.send = p.Send
	for l := range m.links {
		if !slices.Contains(p.Links, l) {
			delete(m.links, l)
		}
	}
	m.remove(p.Delete)
	for i := range m.own {
		m.own[i].Withdrawn = m.own[i].Withdrawn || slices.Contains(p.Withdraw, m.own[i].Generation)
	}
	w.records[m.id] = published(m.own)
}

// remove deletes keys with their devices.
func (m *machine) remove(gone []uint64) {
	m.own = slices.DeleteFunc(m.own, func(o Own) bool { return slices.Contains(gone, o.Generation) })
	for l := range m.links {
		if slices.Contains(gone, l.Generation) {
			delete(m.links, l)
		}
	}
}

// handshake connects all tunnels that both sides have.
func (w *world) handshake() {
	for _, a := range w.hosts {
		for _, b := range w.hosts {
			for l := range a.links {
				if _, ok := b.links[Link{a.id, l.Generation}]; ok && l.Host == b.id {
					a.links[l], b.links[Link{a.id, l.Generation}] = true, true
				}
			}
		}
	}
}

// learn delivers the record of one host to another.
func (w *world) learn(m, of *machine) { m.seen[of.id] = w.records[of.id] }

// converge lets all hosts learn and decide until nothing changes.
func (w *world) converge() {
	for range 12 {
		for _, m := range w.hosts {
			for _, o := range w.hosts {
				w.learn(m, o)
			}
			w.step(m)
		}
	}
}

// lost returns a packet that its receiver would drop, as text.
func (w *world) lost() string {
	for _, a := range w.hosts {
		if len(generations(a.own)) > Slots {
			return fmt.Sprintf("%s has the generations %v", a.id, generations(a.own))
		}
		for _, b := range w.hosts {
			g := a.send[b.id]
			if _, accepts := b.links[Link{a.id, g}]; a != b && !accepts {
				return fmt.Sprintf("%s sends to %s with %d, which has %v with links %v", a.id, b.id, g,
					generations(b.own), keysOf(b.links))
			}
		}
	}
	return ""
}

// TestChangesLoseNothing lets hosts decide in any order, with any delay, and checks that each packet
// is accepted at any moment, and that the keys change nevertheless.
func TestChangesLoseNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(rapid.IntRange(2, 5).Draw(t, "hosts"))
		w.converge()
		if text := w.lost(); text != "" {
			t.Fatalf("at first: %s", text)
		}
		pick := rapid.SampledFrom(w.hosts)
		for i := range rapid.IntRange(0, 120).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				w.now = w.now.Add(20 * time.Minute)
			case 1, 2:
				w.learn(pick.Draw(t, "learns"), pick.Draw(t, "of"))
			default:
				w.step(pick.Draw(t, "decides"))
			}
			if text := w.lost(); text != "" {
				t.Fatalf("after step %d: %s", i, text)
			}
		}

		w.converge()
		before := w.changes
		w.now = w.now.Add(time.Hour)
		w.converge()
		if w.changes < before+len(w.hosts) {
			t.Errorf("%d keys were created within a lifetime, want one on each of %d hosts", w.changes-before,
				len(w.hosts))
		}
		if text := w.lost(); text != "" {
			t.Errorf("at last: %s", text)
		}
		for _, m := range w.hosts {
			if len(m.own) != 1 {
				t.Errorf("%s has the generations %v, want one", m.id, generations(m.own))
			}
		}
	})
}

// TestLateHostKeepsItsTunnel checks that a host that learns nothing is sent to with the key that it
// has, however long that takes.
func TestLateHostKeepsItsTunnel(t *testing.T) {
	w := newWorld(3)
	w.converge()
	late, others := w.hosts[0], w.hosts[1:]
	for range 10 {
		w.now = w.now.Add(time.Hour)
		for range 5 {
			for _, m := range others {
				for _, o := range w.hosts {
					w.learn(m, o)
				}
				w.step(m)
			}
			w.step(late)
			if text := w.lost(); text != "" {
				t.Fatal(text)
			}
		}
	}
	if g := others[0].send[others[1].id]; g != 2 {
		t.Errorf("the others use generation %d with each other, want 2", g)
	}
	w.converge()
	if text := w.lost(); text != "" || late.send[others[0].id] < 2 {
		t.Errorf("after the return: %s, generation %d", text, late.send[others[0].id])
	}
}
