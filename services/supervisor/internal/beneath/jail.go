package beneath

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Jail calls f with dir as the root directory, and the working directory, of all that f does by path. It is for libraries that
// create files by path. f must not start goroutines that use paths, and has no /proc. The thread ends with f.
func Jail(dir string, f func() error) error {
	done := make(chan error, 1)
	go jailed(dir, f, done)
	return <-done
}

func jailed(dir string, f func() error, done chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() { // /proc/self/root is the main thread's: keep it, and use another one
		defer runtime.UnlockOSThread()
		inner := make(chan error, 1)
		go jailed(dir, f, inner)
		done <- <-inner
		return
	}
	// Locked to the end of the goroutine: the runtime ends the thread then, and starts none from it.
	done <- enter(dir, f)
}

func enter(dir string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil { // in a goroutine of its own it would end the process
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
