// Package inotify watches files and directories for changes. It is the only package that parses the
// kernel's inotify events. It does not watch recursively.
package inotify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The events that can be watched.
const (
	Written = unix.IN_CLOSE_WRITE                     // a file was closed after writing
	MovedIn = unix.IN_MOVED_TO                        // a file was renamed into the directory
	Grown   = unix.IN_MODIFY                          // a file was written to
	Removed = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF // the watched path itself was removed or renamed
	Created = unix.IN_CREATE                          // a file was created
)

// Event is one change.
type Event struct {
	Watch    int    // number that Add returned
	Name     string // file name in the watched directory; empty for a watched file
	Overflow bool   // events were lost: check everything
	Gone     bool   // the watched path no longer exists; Add it again once it does
}

// Watcher watches paths for changes.
type Watcher struct {
	f   *os.File
	buf [16 << 10]byte
}

// Watch returns a Watcher for one path.
func Watch(path string, mask uint32) (*Watcher, error) {
	w, err := New()
	if err != nil {
		return nil, err
	}
	if _, err := w.Add(path, mask); err != nil {
		_ = w.Close()
		return nil, err
	}
	return w, nil
}

// New returns a Watcher without paths.
func New() (*Watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	return &Watcher{f: os.NewFile(uintptr(fd), "inotify")}, nil
}

// Add watches a path and returns the number of the watch. It must not be called after Close.
func (w *Watcher) Add(path string, mask uint32) (int, error) {
	watch := -1
	err := w.control(func(fd int) (err error) {
		watch, err = unix.InotifyAddWatch(fd, path, mask)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("inotify: watch %s: %w", path, err)
	}
	return watch, nil
}

// Remove stops a watch. Next can still return events that were read before.
func (w *Watcher) Remove(watch int) error {
	return w.control(func(fd int) error {
		_, err := unix.InotifyRmWatch(fd, uint32(watch))
		return err
	})
}

// control calls do with the descriptor. File.Fd would make it blocking, so that Close could not
// interrupt Next.
func (w *Watcher) control(do func(fd int) error) error {
	raw, err := w.f.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) { err = do(int(fd)) })
	return errors.Join(cerr, err)
}

// Next waits for events. It returns os.ErrClosed after Close.
func (w *Watcher) Next() ([]Event, error) {
	n, err := w.f.Read(w.buf[:])
	if err != nil {
		return nil, err
	}
	return parse(w.buf[:n]), nil
}

// Close stops all watches and interrupts Next.
func (w *Watcher) Close() error { return w.f.Close() }

// parse parses the kernel's records: a struct inotify_event, then Len bytes of name padded with
// zeros.
func parse(buf []byte) []Event {
	const header = unix.SizeofInotifyEvent
	var out []Event
	for len(buf) >= header {
		mask := binary.NativeEndian.Uint32(buf[unsafe.Offsetof(unix.InotifyEvent{}.Mask):])
		size := int(binary.NativeEndian.Uint32(buf[unsafe.Offsetof(unix.InotifyEvent{}.Len):]))
		if size > len(buf)-header {
			break
		}
		watch := int32(binary.NativeEndian.Uint32(buf[unsafe.Offsetof(unix.InotifyEvent{}.Wd):]))
		name, _, _ := bytes.Cut(buf[header:header+size], []byte{0})
		out = append(out, Event{Watch: int(watch), Name: string(name), Overflow: mask&unix.IN_Q_OVERFLOW != 0,
			Gone: mask&Removed != 0})
		buf = buf[header+size:]
	}

	return out
}
