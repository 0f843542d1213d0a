package pathprobe

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// clockwork drives paths with one other host, whose packets of some sizes arrive.
type clockwork struct {
	*paths
	now     time.Time
	arrives int // the largest packet
	closed  map[uint16]bool
	changes int
	sent    int
}

func newClockwork() *clockwork {
	c := &clockwork{paths: newPaths(0), now: time.Unix(1000, 0), arrives: 1500}
	c.set(1500, []Peer{{"two", "192.0.2.2", nil}})
	return c
}

// pass lets a time pass.
func (c *clockwork) pass(d time.Duration) {
	for end := c.now.Add(d); c.now.Before(end); c.now = c.now.Add(usualTimes().fast) {
		out, changed := c.due(c.now, 10)
		if changed {
			c.changes++
		}
		c.sent += len(out)
		for _, s := range out {
			if s.mtu <= c.arrives && !c.closed[s.port] && c.replied(s.address, s.number, c.now) {
				c.changes++
			}
		}
	}
}

func (c *clockwork) text() string {
	all, decided := c.problems()
	return fmt.Sprint(textOf(all), " ", decided, " ", c.changes)
}

// textOf returns hosts and reasons.
func textOf(all []Problem) (texts []string) {
	for _, p := range all {
		texts = append(texts, "{"+p.Host+" "+p.Reason+"}")
	}
	return texts
}

func TestPathsAreDecidedByProbesInARow(t *testing.T) {
	c := newClockwork()
	if got := c.text(); got != "[] 0 0" {
		t.Errorf("at first: got %s", got)
	}
	c.pass(time.Second)
	if got := c.text(); got != "[] 1 1" {
		t.Errorf("replies come: got %s", got)
	}
	before := c.sent
	c.pass(time.Minute)
	if got := c.sent - before; got > 8 {
		t.Errorf("got %d packets in a minute to a host that replies", got)
	}
	c.arrives = 0
	c.pass(usualTimes().slow + 2*time.Second)
	if got := c.text(); got != "[] 1 1" {
		t.Errorf("a few losses: got %s", got)
	}
	c.pass(4 * time.Second)
	if got := c.text(); !strings.Contains(got, "{two no packet to UDP port 4789 comes back") || !strings.HasSuffix(got,
		" 1 2") {
		t.Errorf("nothing arrives: got %s", got)
	}
	c.pass(time.Hour)
	if got := c.text(); !strings.HasSuffix(got, " 1 2") {
		t.Errorf("an hour later: got %s", got)
	}
	c.arrives = 1500
	c.pass(usualTimes().slow + time.Second)
	if got := c.text(); got != "[] 1 3" {
		t.Errorf("it arrives again: got %s", got)
	}
}

func TestSmallerMTUIsNamed(t *testing.T) {
	c := newClockwork()
	c.arrives = 1400
	c.pass(6 * time.Second)
	if got := c.text(); !strings.Contains(got, "{two packets of 1500 bytes are lost, small ones arrive") {
		t.Errorf("got %s", got)
	}
	c.set(1450, []Peer{{"two", "192.0.2.2", nil}})
	if got := c.text(); !strings.Contains(got, "{two packets of 1500 bytes are lost, small ones arrive") {
		t.Errorf("not checked with the new MTU of the fleet: got %s", got)
	}
	c.pass(6 * time.Second)
	if got := c.text(); !strings.Contains(got, "{two packets of 1450 bytes are lost") || !strings.HasSuffix(got,
		" 1 2") {
		t.Errorf("lost with the new MTU of the fleet: got %s", got)
	}
	c.set(1400, []Peer{{"two", "192.0.2.2", nil}}) // the MTU of the fleet follows
	c.pass(time.Second)
	if got := c.text(); !strings.HasPrefix(got, "[] 1 ") {
		t.Errorf("after a smaller MTU of the fleet: got %s", got)
	}
}

func TestHealthIsKeptUntilProbesDecide(t *testing.T) {
	c := newClockwork()
	c.arrives = 0
	c.pass(10 * time.Second)
	for _, change := range []func(){
		func() { c.set(1400, []Peer{{"two", "192.0.2.2", nil}}) },
		func() { c.set(1400, []Peer{{"two", "192.0.2.3", nil}}) },
	} {
		change()
		if got := c.text(); !strings.Contains(got, "{two no packet to UDP port 4789") || !strings.HasSuffix(got,
			" 1 1") {
			t.Errorf("got %s", got)
		}
	}
	c.arrives = 1400
	c.pass(time.Second)
	if got := c.text(); got != "[] 1 2" {
		t.Errorf("probes arrive: got %s", got)
	}
	c.set(1300, []Peer{{"two", "192.0.2.3", nil}})
	if got := c.text(); got != "[] 1 2" {
		t.Errorf("a host that was reached: got %s", got)
	}
}

func TestEachPortOfAHostIsChecked(t *testing.T) {
	c := newClockwork()
	c.set(1500, []Peer{{"two", "192.0.2.2", []uint16{51820, 51821}}})
	c.closed = map[uint16]bool{51820: true}
	c.pass(time.Second)
	if got := c.text(); got != "[] 0 2" { // two ways work, one is not decided
		t.Errorf("at first: got %s", got)
	}
	c.pass(10 * time.Second)
	if got, _ := c.problems(); len(got) != 1 || !slices.Equal(got[0].Closed, []uint16{51820}) {
		t.Errorf("a closed port: got %v", got)
	}
	c.closed[4789] = true
	c.pass(time.Minute)
	if got := c.text(); !strings.Contains(got, "no packet to UDP ports 4789, 51820 comes back") {
		t.Errorf("two closed ports: got %s", got)
	}
	c.set(1500, []Peer{{"two", "192.0.2.2", nil}}) // the last encrypted network was deleted
	if got := c.text(); !strings.Contains(got, "no packet to UDP port 4789 comes back") {
		t.Errorf("without encrypted networks: got %s", got)
	}
}

func TestHostsComeAndGo(t *testing.T) {
	c := newClockwork()
	c.pass(time.Second)
	c.set(1500, []Peer{{"three", "192.0.2.3", nil}, {"two", "192.0.2.2", nil}})
	if got := c.text(); got != "[] 1 1" {
		t.Errorf("a new host: got %s", got)
	}
	c.set(1500, nil)
	if got := c.text(); got != "[] 0 1" {
		t.Errorf("no hosts: got %s", got)
	}
	if c.replied("192.0.2.2", 2, c.now) {
		t.Error("the reply of a host that has left changed something")
	}
}

func TestForeignPacketsAreNotProbes(t *testing.T) {
	good := packet{request, 7, 100}.encode()
	if got, ok := decode(good); !ok || got != (packet{request, 7, 100}) {
		t.Errorf("got %v, %t", got, ok)
	}
	for name, change := range map[string]func(b []byte) []byte{
		"cut off":       func(b []byte) []byte { return b[:packetSize-1] },
		"VXLAN":         func(b []byte) []byte { b[0] = 8; return b },
		"network":       func(b []byte) []byte { b[5] = 1; return b },
		"foreign":       func(b []byte) []byte { b[magicAt] = 1; return b },
		"kind":          func(b []byte) []byte { b[kindAt] = 3; return b },
		"nothing":       func([]byte) []byte { return nil },
		"only a header": func([]byte) []byte { return make([]byte, 8) },
	} {
		if got, ok := decode(change(packet{request, 7, 100}.encode())); ok {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(packet{reply, 1, 64}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, ok := decode(b); ok && (p.size != len(b) || p.kind != request && p.kind != reply) {
			t.Errorf("got %v of %d bytes", p, len(b))
		}
	})
}
