package inside

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
)

// Addresses of the host that cannot be read do not replace those that were read before.
func TestHostAddressesAreKept(t *testing.T) {
	all := map[netip.Addr]bool{netip.MustParseAddr("127.0.0.1"): true, netip.MustParseAddr("10.7.0.9"): true,
		netip.MustParseAddr("fe80::1%eth0"): true}
	local := all
	n := New(Config{Local: func() map[netip.Addr]bool { return local }})
	want := []netip.Prefix{netip.MustParsePrefix("10.7.0.9/32"), netip.MustParsePrefix("fe80::1/128")}
	for _, local = range []map[netip.Addr]bool{all, {}, nil, all} {
		if got := n.hostAddresses(); !slices.Equal(got, want) {
			t.Errorf("with %v: got %v, want %v", local, got, want)
		}
	}
	local = map[netip.Addr]bool{netip.MustParseAddr("127.0.0.1"): true}
	if got := n.hostAddresses(); len(got) != 0 {
		t.Errorf("got %v, want none", got)
	}
}

// A namespace that is deleted is not waited for, but netagent is.
func TestDeletedNamespacesAreNotDue(t *testing.T) {
	all := map[string]*plan.Plan{"a": plan.New(&plan.Container{Owner: "a", Endpoints: []plan.Endpoint{{Inside: true}}},
		nil)}
	for kind, due := range map[fault.Kind]bool{fault.NotFound: false, fault.Unavailable: true} {
		n := New(Config{Log: slog.New(slog.DiscardHandler), Local: func() map[netip.Addr]bool { return nil },
			Open: func(context.Context, string) (*os.File, error) {
				return nil, fault.New(kind, "sandbox a", "fails")
			}})
		if err := n.Sync(t.Context(), all); err != nil || n.IsDue() != due {
			t.Errorf("%v: got %v, due %t, want %t", kind, err, n.IsDue(), due)
		}
	}
}

// opener returns Namespaces that all are one.
func opener(t *testing.T) (*Namespaces, *testns.NS) {
	t.Helper()
	ns := testns.New(t)
	return New(Config{Log: slog.New(slog.DiscardHandler),
		Found: func(string, map[answered.Open]time.Duration) {}, Open: func(context.Context, string) (*os.File, error) {
			fd, err := -1, error(nil)
			ns.Do(func() {
				fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK,
					unix.NETLINK_NETFILTER)
			})
			return os.NewFile(uintptr(fd), "netlink"), err
		}}), ns
}

func TestSocketsAreClosed(t *testing.T) {
	n, _ := opener(t)
	refused, err := n.openLog(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	changes, err := n.openChanges(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n.readLog(ctx, "a", refused)
	n.watch(ctx, "a", changes, 0, func() {})
	if refused.Close() == nil {
		t.Error("the log stays open")
	}
	if changes.Close() == nil {
		t.Error("the socket for changes stays open")
	}
}

// Changes that could not be seen, as the socket was not open, are reported too.
func TestChangesAreReportedAfterOpening(t *testing.T) {
	n, ns := opener(t)
	changed := make(chan struct{}, 64)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); n.watch(ctx, "a", nil, 0, func() { changed <- struct{}{} }) }()
	for _, when := range []string{"after opening", "after a change"} {
		select {
		case <-changed:
		case <-time.After(time.Minute):
			t.Fatalf("%s: no change is reported", when)
		}
		if when == "after opening" {
			ns.Run("nft", "add table inet other")
		}
	}
	cancel()
	<-done
}
