package iptables

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nfevents"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// Poll intervals of Watch. With kernel events, polling only covers lost ones. Legacy iptables has
// no events; a poll is one system call per table.
const (
	watchEvery  = 25 * time.Millisecond
	watchResync = time.Second
)

// generation detects changes of rules by a stamp.
type generation interface {
	// now returns the current stamp.
	now() ([]uint64, error)
	// after returns the stamp after some of our own transactions; nil if unknown.
	after(before []uint64, transactions int) []uint64
	// who returns the program that made the last change seen by now, if known.
	who() firewall.Modifier
	// news is closed at the next change; nil if the kernel has no events.
	news() <-chan struct{}
	close() error
}

// watcher detects external changes.
type watcher struct {
	stamp generation
	nft   *nfTables // nil if the kernel has no nf_tables

	mu      sync.Mutex
	seen    []uint64
	written int  // transactions of the current change
	changed bool // externally, and not signalled yet
	by      firewall.Modifier
}

func newWatcher(ns hostns.NS, events *nfevents.Source, f Features) (*watcher, error) {
	w := &watcher{}
	nft, err := openNFTables(ns)
	if err == nil {
		w.nft = nft
	}

	if f.Flavour == NFT {
		if err != nil {
			return nil, fault.Wrap(err, fault.Unavailable, "nf_tables", "cannot open a netlink socket")
		}
		w.stamp = nft
		if nft.modifiers, err = listen(events); err != nil {
			return nil, errors.Join(fault.Wrap(err, fault.Unavailable, "nf_tables", "cannot be watched"), nft.close())
		}
		return w, nil
	}

	if w.stamp, err = openLegacy(ns, f.IPv6); err != nil {
		if nft != nil {
			_ = nft.close()
		}
		return nil, fault.Wrap(err, fault.Unavailable, "ip_tables", "cannot be watched")
	}

	return w, nil
}

func (w *watcher) close() error {
	if w.nft != nil && w.stamp != generation(w.nft) {
		_ = w.nft.close()
	}
	return w.stamp.close()
}

// beginChange starts a change of our own and returns a function that ends it. Call wrote in
// between.
func (w *watcher) beginChange() (end func()) {
	w.mu.Lock()
	before := w.look()
	w.written = 0
	return func() {
		now, err := w.stamp.now()
		if want := w.stamp.after(before, w.written); err != nil || want != nil && !slices.Equal(now, want) {
			w.changed = true
			if w.written == 0 { // all changes are external
				w.by = w.stamp.who()
			}
		}
		w.seen = now
		w.mu.Unlock()
	}
}

// wrote counts transactions of the current change.
func (w *watcher) wrote(transactions int) { w.written += transactions }

// forceSignal makes Watch signal after the current change, where external changes cannot be
// detected.
func (w *watcher) forceSignal() { w.changed = true }

// look updates the stamp and records a change.
func (w *watcher) look() []uint64 {
	now, err := w.stamp.now()
	if err != nil || !slices.Equal(now, w.seen) {
		w.changed, w.by = true, w.stamp.who()
	}
	w.seen = now
	return now
}

// take returns whether rules were changed externally since the last call, and by which program.
func (w *watcher) take() (by firewall.Modifier, changed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.look()
	by, changed = w.by, w.changed
	w.by, w.changed = firewall.Modifier{}, false
	return by, changed
}

// pause waits for news or until the timeout. It returns false when ctx ends.
func pause(ctx context.Context, news <-chan struct{}, most time.Duration) bool {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-news:
	case <-timer.C:
	}
	return true
}

// Watch implements firewall.Firewall.
func (b *Backend) Watch(ctx context.Context) (<-chan firewall.Modifier, error) {
	b.watcher.take() // discard earlier changes
	out := make(chan firewall.Modifier, 1)
	go func() {
		for {
			news, every := b.watcher.stamp.news(), watchEvery
			if news != nil {
				every = watchResync
			}
			by, changed := b.watcher.take()
			if !changed && !pause(ctx, news, every) {
				return
			}
			if !changed {
				continue
			}
			select {
			case out <- by:
			default: // a signal is pending already
			}
		}
	}()

	return out, nil
}
