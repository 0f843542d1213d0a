package holder

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestHolderWithoutFilesExits(t *testing.T) {
	h := newHeld(os.Geteuid(), time.Hour)
	h.idleTime = time.Millisecond
	if m, ended := h.change(message{Op: opPut, Names: []string{"one", "two"}}, pipes(t, 2)); ended || m.Error != "" {
		t.Fatalf("put: got %+v, ended %v", m, ended)
	}
	one, two := message{Op: opDrop, Names: []string{"one"}}, message{Op: opDrop, Names: []string{"two"}}
	for _, m := range []message{one, {Op: opIdle}, two} {
		if got, ended := h.change(m, nil); ended || got.Ended {
			t.Errorf("%+v: got %+v, ended %v, want that the holder waits", m, got, ended)
		}
	}
	<-h.done
	got, ended := h.change(message{Op: opPut, Names: []string{"late"}}, pipes(t, 1))
	if want := (message{Ended: true, Error: "ended"}); got.Ended != want.Ended || got.Error != want.Error || ended {
		t.Errorf("late put: got %+v, ended %v, want %+v", got, ended, want)
	}
}

// A holder whose time is over when a file arrives rejects it, and the client starts another one.
func TestExitingHolderIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "holder")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	h := newHeld(os.Geteuid(), time.Hour)
	served := make(chan error, 1)
	go func() { served <- h.serve(l) }()
	t.Cleanup(func() {
		close(h.done)
		if err := <-served; err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})

	h.mu.Lock()
	h.ended = true
	h.mu.Unlock()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := New(path, []string{exe}, slog.New(slog.DiscardHandler))
	c.keep("file", pipes(t, 1)[0])
	if err := c.put("file"); err != nil {
		t.Errorf("put: %v", err)
	}

	next := New(path, nil, slog.New(slog.DiscardHandler))
	left := next.Inherited()
	if len(left["file"]) != 1 {
		t.Errorf("new holder: got %v, want the file", left)
	}
	for _, f := range left["file"] {
		_ = f.Close()
	}
	next.Close()
	if err := c.Clear(t.Context()); err != nil {
		t.Error(err)
	}
	c.Close()
}

// pipes returns the read ends of pipes, which the caller closes.
func pipes(t *testing.T, count int) (fds []int) {
	t.Helper()
	for range count {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		fd, err := duplicate(int(r.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = r.Close(), w.Close()
		fds = append(fds, fd)
	}
	return fds
}
