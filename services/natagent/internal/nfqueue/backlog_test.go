package nfqueue

import (
	"slices"
	"testing"
)

func TestBacklog(t *testing.T) {
	var b backlog
	data := []byte("abc")
	for i := range uint32(maxWaiting + 5) {
		if got := b.add(1, Packet{ID: i, Data: data}); got != (i < maxWaiting) {
			t.Fatalf("packet %d of a class: got %t", i, got)
		}
	}
	if !b.add(2, Packet{ID: 1000}) || !b.add(2, Packet{ID: 1001, Data: make([]byte, maxBytes)}) ||
		b.add(2, Packet{ID: 1002, Data: make([]byte, 1)}) || !b.add(3, Packet{ID: 2000}) {
		t.Error("the bytes of a class, or another class, are not bounded alone")
	}
	b.keep()
	copy(data, "xyz")

	var order []uint32
	for p, ok := b.next(); ok; p, ok = b.next() {
		if order = append(order, p.ID); p.ID < maxWaiting && string(p.Data) != "abc" {
			t.Fatalf("packet %d: data %q", p.ID, p.Data)
		}
	}
	if want := []uint32{0, 1000, 2000, 1, 1001, 2, 3}; len(order) != maxWaiting+3 || !slices.Equal(order[:7], want) {
		t.Errorf("%d packets, first %v, want %v", len(order), order[:7], want)
	}
	if len(b.lines) > 0 || len(b.turns) > 0 || b.count != 0 {
		t.Errorf("an empty backlog has %d lines, %d turns, %d packets", len(b.lines), len(b.turns), b.count)
	}
	if !b.add(1, Packet{ID: 7}) {
		t.Error("a class that was full stays full")
	}
}
