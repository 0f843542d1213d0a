package kernel_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
)

const timeout = time.Minute

func host(t *testing.T) (*testns.NS, *kernel.Host) {
	t.Helper()
	ns := testns.New(t)
	h, err := kernel.Open(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return ns, h
}

func TestProbeSucceeds(t *testing.T) {
	testns.NeedRoot(t)
	if err := kernel.Probe(); err != nil {
		t.Error(err)
	}
}

func TestPinKeepsNamespaceUntilUnpin(t *testing.T) {
	testns.NeedRoot(t)
	path := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(path, nil, 0o600); err != nil { // as after a crash between creating the file and mounting
		t.Fatal(err)
	}
	if kernel.Pinned(path) {
		t.Error("plain file reported as pinned")
	}
	pin := func(ns *kernel.Namespace) error { return ns.Pin(path) }
	if err := kernel.NewNamespace(pin); err != nil {
		t.Fatal(err)
	}
	if !kernel.Pinned(path) {
		t.Error("namespace not reported as pinned")
	}
	if err := kernel.NewNamespace(pin); !errors.Is(err, unix.EBUSY) {
		t.Errorf("second pin: got %v, want EBUSY", err)
	}
	for range 2 {
		if err := kernel.Unpin(path); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("file still exists")
	}
}

func TestWatchReportsLinksAndAddresses(t *testing.T) {
	ns, h := host(t)
	ctx, cancel := context.WithCancel(context.Background())
	changes, ended := make(chan kernel.Change, 100), make(chan error, 1)
	go func() { ended <- h.Watch(ctx, func(c kernel.Change) { changes <- c }) }()
	expect := func(want kernel.Change, do ...string) {
		t.Helper()
		late := time.After(timeout)
		for again := time.NewTicker(50 * time.Millisecond); ; {
			select {
			case got := <-changes:
				if got == want {
					again.Stop()
					return
				}
			case <-again.C: // the watch may not be active yet
				ns.Run(do[0], do[1:]...)
			case <-late:
				t.Fatalf("no event %+v", want)
			}
		}
	}
	expect(kernel.Change{Link: "br0"}, "sh", "-c", "ip link delete br0; ip link add br0 type bridge")
	br0, _, err := h.Link("br0")
	if err != nil {
		t.Fatal(err)
	}
	expect(kernel.Change{Index: br0.Index}, "ip", "addr", "replace", "10.0.0.1/24", "dev", "br0")
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(timeout):
		t.Fatal("Watch does not return")
	}
}

func TestApplySysctlsWritesDifferencesOnly(t *testing.T) {
	ns, h := host(t)
	set := []kernel.Sysctl{{Path: "net/ipv4/conf/lo/forwarding", Value: "1"}}
	for i, want := range []int{1, 0} {
		changes, err := h.ApplySysctls(set)
		if err != nil || len(changes) != want {
			t.Errorf("time %d: %v, %v", i, changes, err)
		}
	}
	if got := ns.Run("cat", "/proc/sys/net/ipv4/conf/lo/forwarding"); got != "1" {
		t.Errorf("got %s", got)
	}
	if _, err := h.ApplySysctls([]kernel.Sysctl{{Path: "net/no/such", Value: "1"}}); !errors.Is(err, unix.ENOENT) {
		t.Errorf("missing sysctl: %v", err)
	}
}

func TestDeleteMissingObjectSucceeds(t *testing.T) {
	_, h := host(t)
	if err := errors.Join(h.DeleteLink(4711), h.DisablePort("nosuch")); err != nil {
		t.Error(err)
	}
	if _, ok, err := h.Link("nosuch"); ok || err != nil {
		t.Errorf("missing link: got %v, %v", ok, err)
	}
}
