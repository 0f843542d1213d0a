package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
)

// Lock is an exclusive lock on a directory. The kernel releases it when the process exits.
type Lock struct{ f *os.File }

// forkGrace is the time that a lock can remain held after its owner has exited, by a child that has
// not executed its program yet.
const forkGrace = 2 * time.Second

// Acquire acquires the lock NAME.lock in a directory. The error names the process that holds it.
// root names the directory in messages, such as "exec-root".
func Acquire(root, dir, name string) (*Lock, error) {
	path := filepath.Join(dir, name+".lock")
	deadline := time.Now().Add(forkGrace)
	for range 1000 { // each round, the holder removed the file between open and lock, or exited
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fault.Wrap(err, fault.Unavailable, root+" "+dir, "cannot be locked")
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			pid := readHolder(f)
			busy := errors.Join(refused(err, root, dir, name, pid), f.Close())
			if !errors.Is(err, unix.EWOULDBLOCK) || pid == "" || processName(pid) != "" || time.Now().After(deadline) {
				return nil, busy
			}
			time.Sleep(5 * time.Millisecond)
			continue
		}
		if isCurrent(f, path) {
			return &Lock{f}, writeHolder(f)
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	return nil, fault.New(fault.Busy, root+" "+dir, "lock is contended")
}

func refused(err error, root, dir, name, pid string) error {
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return fault.Wrap(err, fault.Unavailable, root+" "+dir, "cannot be locked")
	}
	holder := "unknown process"
	if pid != "" {
		holder = "process " + pid + processName(pid)
	}
	return fault.New(fault.Busy, root+" "+dir, fmt.Sprintf("is in use by another agent with service %s (%s)", name,
		holder),
		fault.WithHint("stop it, or use another --data-root and --exec-root"))
}

// isCurrent reports whether f is still the file at path.
func isCurrent(f *os.File, path string) bool {
	own, err := f.Stat()
	if err != nil {
		return false
	}
	current, err := os.Stat(path)
	return err == nil && os.SameFile(own, current)
}

// writeHolder writes the ID of this process to the lock file. A full file system is not an error,
// because the lock does not depend on it.
func writeHolder(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return nil
	}
	return err
}

// readHolder returns the process ID in a lock file. It is empty if there is none.
func readHolder(f *os.File) string {
	text, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// processName returns the name of a process in brackets after a space. It is empty if the process
// is not visible.
func processName(pid string) string {
	comm, err := os.ReadFile("/proc/" + pid + "/comm")
	if err != nil {
		return ""
	}
	return " [" + strings.TrimSpace(string(comm)) + "]"
}

// Release releases the lock and removes its file.
func (l *Lock) Release() error {
	return errors.Join(os.Remove(l.f.Name()), l.f.Close())
}
