package iptables

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// How often to look whether somebody else has changed rules: where the kernel tells of changes, only in case word of one was lost.
// The older iptables has no events; to look is one system call for a table.
const (
	watchEvery  = 25 * time.Millisecond
	watchBeside = time.Second
)

// generation changes when rules do.
type generation interface {
	// now is the stamp of the moment.
	now() ([]uint64, error)
	// after is what the stamp must be after a number of transactions of ours; nil if that cannot be told.
	after(before []uint64, transactions int) []uint64
	// who made the change that now saw last, as far as that is known.
	who() firewall.Modifier
	// news is closed at the next change; nil if the kernel does not tell.
	news() <-chan struct{}
	close() error
}

// watcher tells changes of others from our own.
type watcher struct {
	stamp generation
	nft   *nfTables // nil on a kernel without

	mu      sync.Mutex
	seen    []uint64
	written int  // transactions of the change that is being made
	changed bool // by somebody else, and not signalled yet
	by      firewall.Modifier
}

func newWatcher(ns hostns.NS, f Features) (*watcher, error) {
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
		if nft.authors, err = listen(ns); err != nil {
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

// beginChange begins a change of ours, which wrote is told of, and answers how to end it.
func (w *watcher) beginChange() (end func()) {
	w.mu.Lock()
	before := w.look()
	w.written = 0
	return func() {
		now, err := w.stamp.now()
		if want := w.stamp.after(before, w.written); err != nil || want != nil && !slices.Equal(now, want) {
			w.changed = true
			if w.written == 0 { // all of it is somebody else's
				w.by = w.stamp.who()
			}
		}
		w.seen = now
		w.mu.Unlock()
	}
}

// wrote counts transactions between own and its end.
func (w *watcher) wrote(transactions int) { w.written += transactions }

// forceSignal has Watch signal once more, between own and its end, where a change of others among our own cannot be told.
func (w *watcher) forceSignal() { w.changed = true }

// look notes whether the stamp has changed.
func (w *watcher) look() []uint64 {
	now, err := w.stamp.now()
	if err != nil || !slices.Equal(now, w.seen) {
		w.changed, w.by = true, w.stamp.who()
	}
	w.seen = now
	return now
}

// take tells whether somebody else has changed something since it was last asked, and who.
func (w *watcher) take() (by firewall.Modifier, changed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.look()
	by, changed = w.by, w.changed
	w.by, w.changed = firewall.Modifier{}, false
	return by, changed
}

// pause waits for news, or some time; false when ctx ends.
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

// Watch signals changes that others made to tables that our chains are in.
func (b *Backend) Watch(ctx context.Context) (<-chan firewall.Modifier, error) {
	b.watcher.take() // what was before
	out := make(chan firewall.Modifier, 1)
	go func() {
		for {
			news, every := b.watcher.stamp.news(), watchEvery
			if news != nil {
				every = watchBeside
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
			default: // one is waiting to be read already
			}
		}
	}()
	return out, nil
}
