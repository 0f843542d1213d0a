package inotify

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestMovedFileIsReported(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	w, err := Watch(dir, MovedIn)
	if err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile(filepath.Join(other, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}

	if err := os.Rename(filepath.Join(other, "x"), filepath.Join(dir, "y")); err != nil {
		t.Fatal(err)
	}

	events, err := w.Next()
	if err != nil || len(events) != 1 || events[0].Name != "y" || events[0].Overflow {
		t.Errorf("Next: got %v, %v; want one event for y", events, err)
	}

	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestCloseInterruptsNext(t *testing.T) {
	w, err := Watch(t.TempDir(), MovedIn)
	if err != nil {
		t.Fatal(err)
	}

	done := make(chan error, 1)
	go func() { _, err := w.Next(); done <- err }()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	select {
	case err := <-done:
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("Next: got %v, want os.ErrClosed", err)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("Next does not return")
	}
}

func TestWatchOfMissingPathFails(t *testing.T) {
	if _, err := Watch(filepath.Join(t.TempDir(), "none"), MovedIn); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Watch: got %v, want not exist", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x01\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00abc\x00"))
	f.Add([]byte("\x01\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xffabc\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, e := range parse(b) {
			if len(e.Name) > len(b) {
				t.Errorf("a name of %d bytes out of %d", len(e.Name), len(b))
			}
		}
	})
}
