// Package hostns runs functions in the host's network namespace, which natagent manages.
//
// Usually that is the process's own namespace, which is not entered. No other package of natagent
// changes namespaces.
package hostns

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// NS is a network namespace.
type NS struct{ fd int }

// At returns the namespace of an open descriptor; 0 is the process's own. The descriptor must stay
// open.
func At(fd int) NS { return NS{fd} }

// Fd returns the descriptor; 0 for the process's own namespace.
func (n NS) Fd() int { return n.fd }

// Do runs f in the namespace. Goroutines that f starts are not in it.
func (n NS) Do(f func() error) error {
	if n.fd == 0 {
		return f()
	}

	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open the thread's network namespace: %w", err)
	}
	defer func() { _ = unix.Close(home) }()
	if err := unix.Setns(n.fd, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter the host's network namespace: %w", err)
	}
	defer func() {
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		} // otherwise the thread stays locked and exits with its goroutine
	}()

	return f()
}
