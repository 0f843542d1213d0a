// Package nfevents receives the transactions of nf_tables: which program changed which tables and chains. It does not
// decode rules and elements, so that the large transactions of egress policies cost little.
//
// All watchers of natagent share one Source, and so one socket: the firewall backends and packages hostfirewall and
// forwardpolicy.
package nfevents

import (
	"context"
	"sync"
	"time"

	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// receiveBuffer is enough for the transactions of some thousand policies.
const receiveBuffer = 8 << 20

// reopenPause is the delay before another socket is opened after a failure.
const reopenPause = 100 * time.Millisecond

// Kind is the kind of a changed object.
type Kind uint8

// The kinds of objects.
const (
	Other Kind = iota // such as a counter or a flow table
	Table
	Chain
	Rule
	Set
	Elements // of a set
)

// Change is an object that was created, changed or deleted.
type Change struct {
	Kind   Kind
	Family byte   // NFPROTO_
	Table  string // the table, or that of the object
	Chain  string // the chain, or that of the rule
	Base   bool   // of a chain: it has a hook
	Hook   uint32 // of a base chain
}

// Transaction describes the changes that one program made together.
type Transaction struct {
	Lost       bool   // instead: an unknown number of transactions was lost
	Generation uint32 // number of the transaction
	Port       uint32 // netlink port that sent it
	Process    string // name of the process
	PID        uint32
	Changes    []Change // in order; equal neighbours are joined
}

// Source receives transactions in a network namespace while it has subscribers. It is safe for concurrent use.
type Source struct {
	ns     hostns.NS
	buffer int // bytes that the kernel queues at most

	mu      sync.Mutex // also held while subscribers are called
	last    int
	handles map[int]func(Transaction)
	reader  *reader // nil without subscribers
}

// New returns a source without subscribers.
func New(ns hostns.NS) *Source {
	return &Source{ns: ns, buffer: receiveBuffer, handles: map[int]func(Transaction){}}
}

// Subscribe calls handle for each transaction from now on, and possibly for some earlier ones, one at a time. handle
// must not wait, and must not call the source. cancel returns when handle is not called any more.
func (s *Source) Subscribe(handle func(Transaction)) (cancel func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reader == nil {
		first, err := open(s.ns, s.buffer)
		if err != nil {
			return nil, err
		}
		ctx, stop := context.WithCancel(context.Background())
		s.reader = &reader{source: s, stop: stop, done: make(chan struct{})}
		go s.reader.run(ctx, first)
	}

	s.last++
	number := s.last
	s.handles[number] = handle
	return sync.OnceFunc(func() { s.cancel(number) }), nil
}

// cancel removes a subscriber. The last one stops the reader.
func (s *Source) cancel(number int) {
	s.mu.Lock()
	delete(s.handles, number)
	unused := s.reader
	if len(s.handles) > 0 {
		unused = nil
	} else {
		s.reader = nil
	}
	s.mu.Unlock()

	if unused != nil {
		unused.stop()
		<-unused.done
	}
}

// reader receives transactions on a socket, and on another one after each failure.
type reader struct {
	source *Source
	stop   context.CancelFunc
	done   chan struct{}
}

func (r *reader) run(ctx context.Context, on *socket) {
	defer close(r.done)
	for {
		on.read(ctx, &parser{emit: r.deliver})
		on.close()
		r.deliver(Transaction{Lost: true})
		for on = nil; on == nil; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(reopenPause):
			}
			on, _ = open(r.source.ns, r.source.buffer)
		}
		r.deliver(Transaction{Lost: true}) // those of the time without a socket
	}
}

// deliver calls the subscribers.
func (r *reader) deliver(t Transaction) {
	r.source.mu.Lock()
	defer r.source.mu.Unlock()
	if r.source.reader != r {
		return // stopped
	}
	for _, handle := range r.source.handles {
		handle(t)
	}
}
