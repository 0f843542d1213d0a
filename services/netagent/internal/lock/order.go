package lock

import (
	"bytes"
	"fmt"
	"runtime"
	"sync"
)

// level is the place of a lock in the order.
type level int

const (
	edit level = iota + 1
	ofOwner
	network
	device
)

func (l level) String() string { return [...]string{"none", "edit", "owner", "network", "device"}[l] }

// order records the locks that goroutines hold.
type order struct {
	mu   sync.Mutex
	held map[string][]level // by goroutine, in the order in which they were taken
}

func newOrder() *order { return &order{held: map[string][]level{}} }

// take records a lock that the goroutine is about to take. It panics if the goroutine holds one of
// the same level or below. done records that the lock is released. Another goroutine can call it.
func (o *order) take(l level) (done func()) {
	if o == nil {
		return func() {}
	}

	o.mu.Lock()
	defer o.mu.Unlock()

	self := goroutine()
	for _, held := range o.held[self] {
		if held >= l {
			panic(fmt.Sprintf("lock order: %s is taken while %s is held", l, held))
		}
	}

	o.held[self] = append(o.held[self], l)
	return func() { o.release(self, l) }
}

func (o *order) release(goroutine string, l level) {
	o.mu.Lock()
	defer o.mu.Unlock()
	held := o.held[goroutine]
	for i := range held {
		if held[i] == l {
			held = append(held[:i:i], held[i+1:]...)
			break
		}
	}
	if o.held[goroutine] = held; len(held) == 0 {
		delete(o.held, goroutine)
	}
}

// goroutine returns the number of the calling goroutine, as in a stack trace.
func goroutine() string {
	var buf [32]byte
	fields := bytes.Fields(buf[:runtime.Stack(buf[:], false)])
	return string(fields[1])
}
