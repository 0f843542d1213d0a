package beneath

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Jail calls f with dir as its root and working directory. It is for libraries that create files by
// path. f must not start goroutines that use paths, and has no /proc. The thread ends with f.
func Jail(dir string, f func() error) error {
	done := make(chan error, 1)
	go jailed(dir, f, done)
	return <-done
}

func jailed(dir string, f func() error, done chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() { // keep the main thread's /proc/self/root, and use another thread
		defer runtime.UnlockOSThread()
		inner := make(chan error, 1)
		go jailed(dir, f, inner)
		done <- <-inner
		return
	}
	// The goroutine never unlocks: the Go runtime ends the thread with it.
	done <- enter(dir, f)
}

func enter(dir string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil { // a panic in this goroutine would end the process
			err = fmt.Errorf("panic: %v", p)
		}
	}()

	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return os.NewSyscallError("unshare", err)
	}

	if err := unix.Chroot(dir); err != nil {
		return &os.PathError{Op: "chroot", Path: dir, Err: err}
	}

	if err := unix.Chdir("/"); err != nil {
		return &os.PathError{Op: "chdir", Path: "/", Err: err}
	}

	return f()
}
