// Package testmnt runs tests in mount namespaces of their own, so that no mount outlives a test.
package testmnt

import (
	"fmt"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
)

// Do runs f on a thread in a new mount namespace. The namespace and its mounts are removed when f
// returns or the process ends. Goroutines that f starts are not in it. f may call t.Fatal.
func Do(t testing.TB, f func()) {
	t.Helper()
	testns.NeedRoot(t)
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		defer close(done)
		if err := enter(); err != nil {
			done <- err
			return
		}
		f()
	}()

	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if t.Failed() {
		t.FailNow()
	}
}

func enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil { // implies CLONE_FS
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	return nil
}
