package hostns_test

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

func current(t *testing.T) string {
	t.Helper()
	link, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func TestDoRunsInNamespace(t *testing.T) {
	n := testns.New(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var want, got string
	n.Do(func() { want = current(t) })
	home, boom := current(t), errors.New("boom")
	if err := hostns.At(n.Fd()).Do(func() error { got = current(t); return boom }); !errors.Is(err, boom) {
		t.Errorf("err = %v, want boom", err)
	}
	if got != want || got == home {
		t.Errorf("ran in %s, want %s", got, want)
	}
	if now := current(t); now != home {
		t.Errorf("afterwards: got %s, want %s", now, home)
	}
	if err := hostns.At(0).Do(func() error { got = current(t); return nil }); err != nil || got != home {
		t.Errorf("the process's own: %v, in %s, want %s", err, got, home)
	}
}

func TestDoRejectsInvalidDescriptor(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := hostns.At(int(f.Fd())).Do(func() error { t.Error("f was called"); return nil }); err == nil {
		t.Error("got no error")
	}
}
