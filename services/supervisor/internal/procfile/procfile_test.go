package procfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadReturnsWholeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	var buf []byte
	for _, want := range []string{"", "12\n", strings.Repeat("line of a file\n", 1000), "short"} {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(path, &buf); err != nil || got != want {
			t.Errorf("got %d bytes, %v; want %d", len(got), err, len(want))
		}
	}
	if _, err := Read(path+".none", &buf); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want that the file does not exist", err)
	}
}

func TestFilesFollowTheirPaths(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	f := NewFiles()
	defer f.Close()
	for _, want := range []string{"", "12\n", strings.Repeat("line of a file\n", 5000), "short"} {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Read(path); err != nil || got != want {
			t.Errorf("got %d bytes, %v; want %d", len(got), err, len(want))
		}
	}

	f.Sweep()
	if len(f.open) != 1 {
		t.Errorf("got %d open files after a read, want 1", len(f.open))
	}
	f.Sweep()
	if len(f.open) != 0 {
		t.Errorf("got %d open files without a read, want none", len(f.open))
	}

	f.max = 0
	if got, err := f.Read(path); err != nil || got != "short" || len(f.open) != 0 {
		t.Errorf("got %q, %v and %d open files; want a read without keeping the file", got, err, len(f.open))
	}
	if _, err := f.Read(path + ".none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want that the file does not exist", err)
	}
}

func BenchmarkRead(b *testing.B) {
	buf := make([]byte, 16<<10)
	b.Run("procfile", func(b *testing.B) {
		for b.Loop() {
			if _, err := Read("/proc/self/statm", &buf); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("kept", func(b *testing.B) {
		f := NewFiles()
		defer f.Close()
		for b.Loop() {
			if _, err := f.Read("/proc/self/statm"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("os", func(b *testing.B) {
		for b.Loop() {
			if _, err := os.ReadFile("/proc/self/statm"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
