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

// Lock says that a process uses something of a folder. The kernel lets go of it when the process ends, however it ends.
type Lock struct{ f *os.File }

// forkGrace is how long a lock may be held by what a process that is gone was just about to start: until it executes its program, it has
// whatever the other one had open.
const forkGrace = 2 * time.Second

// Acquire takes the lock NAME.lock in a folder, or says who has it. Root is what the folder is called in messages, such as "exec-root".
func Acquire(root, dir, name string) (*Lock, error) {
	path := filepath.Join(dir, name+".lock")
	ghosts := time.Now().Add(forkGrace)
	for range 1000 { // each round, the holder let go and removed the file between our open and our lock, or is gone
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fault.Wrap(err, fault.Unavailable, root+" "+dir, "cannot be locked")
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			pid := readHolder(f)
			refusal := errors.Join(refused(err, root, dir, name, pid), f.Close())
			if !errors.Is(err, unix.EWOULDBLOCK) || pid == "" || processName(pid) != "" || time.Now().After(ghosts) {
				return nil, refusal
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
	return nil, fault.New(fault.Busy, root+" "+dir, "others lock and unlock it all the time")
}

func refused(err error, root, dir, name, pid string) error {
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return fault.Wrap(err, fault.Unavailable, root+" "+dir, "cannot be locked")
	}
	holder := "a process that has not said its id"
	if pid != "" {
		holder = "process " + pid + processName(pid)
	}
	return fault.New(fault.Busy, root+" "+dir, fmt.Sprintf("another agent runs service %s there (%s)", name, holder),
		fault.WithHint("stop it, or give this one its own --data-root and --exec-root"))
}

// isCurrent tells whether f is still the file at path.
func isCurrent(f *os.File, path string) bool {
	ours, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(ours, there)
}

// writeHolder writes who has the lock. The lock holds without that, so a full file system is no reason to give it up.
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

// readHolder is the id of the process that has signed a lock, empty if none has.
func readHolder(f *os.File) string {
	text, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// processName is a process's name in brackets, with a space before it; empty if there is no such process to be seen.
func processName(pid string) string {
	comm, err := os.ReadFile("/proc/" + pid + "/comm")
	if err != nil {
		return ""
	}
	return " [" + strings.TrimSpace(string(comm)) + "]"
}

// Release lets go and leaves no file.
func (l *Lock) Release() error {
	return errors.Join(os.Remove(l.f.Name()), l.f.Close())
}
