// Package inotify tells when files in a folder, or one file, change. It is the one place that knows the kernel's event format.
package inotify

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What to be told of.
const (
	Written = unix.IN_CLOSE_WRITE                     // a file was closed after writing
	MovedIn = unix.IN_MOVED_TO                        // a file got its name
	Grown   = unix.IN_MODIFY                          // a file was written to
	Removed = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF // the path itself was removed or renamed
)

// Event is one change.
type Event struct {
	Name     string // of the file in the watched folder; empty for a watched file
	Overflow bool   // events were lost: look at everything
	Gone     bool   // the path itself is not there any more; Add it again once it is
}

// Watcher watches one path.
type Watcher struct {
	f   *os.File
	buf [16 << 10]byte
}

// Watch starts to watch a path.
func Watch(path string, mask uint32) (*Watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	if _, err := unix.InotifyAddWatch(fd, path, mask); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("inotify: watch %s: %w", path, err)
	}
	return &Watcher{f: os.NewFile(uintptr(fd), "inotify")}, nil
}

// Add watches one more path, or one that was gone. It must not be called after Close.
func (w *Watcher) Add(path string, mask uint32) error {
	conn, err := w.f.SyscallConn()
	if err != nil {
		return err
	}
	var werr error
	err = conn.Control(func(fd uintptr) { _, werr = unix.InotifyAddWatch(int(fd), path, mask) })
	if err == nil && werr != nil {
		err = fmt.Errorf("inotify: watch %s: %w", path, werr)
	}
	return err
}

// Next waits for changes. After Close it answers os.ErrClosed.
func (w *Watcher) Next() ([]Event, error) {
	n, err := w.f.Read(w.buf[:])
	if err != nil {
		return nil, err
	}
	return parse(w.buf[:n]), nil
}

// Close ends the watching, and a Next that waits.
func (w *Watcher) Close() error { return w.f.Close() }

// parse reads the kernel's records: a struct inotify_event, then Len bytes of name padded with zeros.
func parse(buf []byte) []Event {
	const header = unix.SizeofInotifyEvent
	var out []Event
	for len(buf) >= header {
		mask := binary.NativeEndian.Uint32(buf[unsafe.Offsetof(unix.InotifyEvent{}.Mask):])
		size := int(binary.NativeEndian.Uint32(buf[unsafe.Offsetof(unix.InotifyEvent{}.Len):]))
		if size > len(buf)-header {
			break
		}
		name, _, _ := bytes.Cut(buf[header:header+size], []byte{0})
		out = append(out, Event{Name: string(name), Overflow: mask&unix.IN_Q_OVERFLOW != 0, Gone: mask&Removed != 0})
		buf = buf[header+size:]
	}
	return out
}
