package logfile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/logfile"
)

// monitor writes a log like conmon.
type monitor struct {
	*testing.T
	dir  string
	f    *os.File
	line int
}

func newMonitor(t *testing.T) *monitor {
	t.Helper()
	m := &monitor{T: t, dir: t.TempDir()}
	m.begin(logfile.Name)
	t.Cleanup(func() { _ = m.f.Close() })
	return m
}

func (m *monitor) path() string { return filepath.Join(m.dir, logfile.Name) }

func (m *monitor) begin(name string) {
	m.Helper()
	var err error
	if m.f, err = os.OpenFile(filepath.Join(m.dir, name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640); err != nil {
		m.Fatal(err)
	}
}

func (m *monitor) write(lines int) {
	m.Helper()
	for range lines {
		m.line++
		if _, err := fmt.Fprintf(m.f, "2026-11-23T19:31:47.123456789+00:00 stdout F line %d\n", m.line); err != nil {
			m.Fatal(err)
		}
	}
}

// replace closes the file and renames a new one over it.
func (m *monitor) replace() {
	m.Helper()
	_ = m.f.Close()
	m.begin(logfile.Name + ".tmp")
	if err := os.Rename(m.path()+".tmp", m.path()); err != nil {
		m.Fatal(err)
	}
}

// kept waits until a rotator has preserved the replaced file.
func (m *monitor) kept() {
	m.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		current, err := os.Stat(m.path())
		kept, kerr := os.Stat(m.path() + ".keep")
		if err == nil && kerr == nil && os.SameFile(current, kept) {
			return
		}
		if time.Now().After(deadline) {
			m.Fatal(err, kerr)
		}
	}
}

func (m *monitor) rotator(files int) *logfile.Rotator {
	m.Helper()
	r, err := logfile.NewRotator(logfile.Limit{Size: 1000, Files: files}, slog.New(slog.DiscardHandler))
	if err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { _ = r.Close() })
	return r
}

func (m *monitor) read(o logfile.Options) (lines []string) {
	m.Helper()
	err := logfile.Read(m.Context(), m.path(), o, func(e logfile.Entry) error {
		lines = append(lines, strings.TrimSpace(strings.TrimPrefix(string(e.Data), "line ")))
		return nil
	})
	if err != nil {
		m.Fatal(err)
	}
	return lines
}

func numbers(from, to int) (out []string) {
	for n := from; n <= to; n++ {
		out = append(out, fmt.Sprint(n))
	}
	return out
}

func TestReplacedFilesAreKept(t *testing.T) {
	m := newMonitor(t)
	r := m.rotator(3)
	if err := r.Track(m.dir, r.Standard()); err != nil {
		t.Fatal(err)
	}

	for range 4 {
		m.write(10)
		m.replace()
		m.kept()
	}

	m.write(5)
	if got, want := m.read(logfile.Options{Tail: -1}), numbers(21, 45); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}

	for tail, want := range map[int][]string{0: nil, 3: numbers(43, 45), 5: numbers(41, 45), 6: numbers(40, 45),
		17: numbers(29, 45), 99: numbers(21, 45)} {
		if got := m.read(logfile.Options{Tail: tail}); !slices.Equal(got, want) {
			t.Errorf("tail %d: got %v, want %v", tail, got, want)
		}
	}

	if _, err := os.Lstat(m.path() + ".3"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want only two replaced files", err)
	}

	r.Untrack(m.dir)
	m.replace()
	m.replace()
	if got, want := m.read(logfile.Options{Tail: -1}), numbers(21, 45); !slices.Equal(got, want) {
		t.Errorf("not tracked: got %v, want %v", got, want)
	}

	if err := r.Track(m.dir, r.Standard()); err != nil { // after an agent restart
		t.Fatal(err)
	}

	if got, want := m.read(logfile.Options{Tail: -1}), numbers(31, 45); !slices.Equal(got, want) {
		t.Errorf("tracked again: got %v, want %v", got, want)
	}
}

func TestFollowContinuesInNewFile(t *testing.T) {
	m := newMonitor(t)
	if err := m.rotator(3).Track(m.dir, logfile.Limit{Size: 1000, Files: 3}); err != nil {
		t.Fatal(err)
	}

	m.write(3)
	m.replace()
	m.kept()
	m.write(3)
	ended, got := make(chan struct{}), make(chan string, 1000)
	done := make(chan error, 1)
	go func() {
		done <- logfile.Read(context.WithoutCancel(t.Context()), m.path(), logfile.Options{Tail: 4, Ended: ended},
			func(e logfile.Entry) error {
				got <- strings.TrimSpace(strings.TrimPrefix(string(e.Data), "line "))
				return nil
			})
	}()

	expect := func(from, to int) {
		t.Helper()
		for _, want := range numbers(from, to) {
			select {
			case line := <-got:
				if line != want {
					t.Fatalf("got %s, want %s", line, want)
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("timeout waiting for %s", want)
			}
		}
	}
	expect(3, 6)
	for range 5 {
		m.write(2)
		m.replace()
		m.kept()
		m.write(2)
		expect(m.line-3, m.line)
	}

	m.write(1)
	m.replace()
	m.write(1)
	close(ended)
	expect(m.line-1, m.line)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFullLogIsRotatedBeforeItContinues(t *testing.T) {
	m := newMonitor(t)
	r := m.rotator(2)
	m.write(5)
	if size, err := r.Begin(m.dir, r.Standard()); err != nil || size >= 1000 || size < 500 {
		t.Fatalf("got %d, %v; want what is left of 1000", size, err)
	}
	m.write(5)

	if got := m.read(logfile.Options{Tail: -1}); len(got) != 10 {
		t.Errorf("not full: got %v", got)
	}

	m.write(3)
	if size, err := r.Begin(m.dir, r.Standard()); err != nil || size != 1000 {
		t.Fatalf("got %d, %v", size, err)
	}

	if _, err := os.Lstat(m.path()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want no current file", err)
	}

	m.begin(logfile.Name)
	m.write(1)
	if got, want := m.read(logfile.Options{Tail: -1}), numbers(1, 14); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A snapshot ends where the log ended when it was opened, also if the log is rotated meanwhile.
func TestSnapshotExcludesLaterRecords(t *testing.T) {
	m := newMonitor(t)
	r := m.rotator(3)
	if err := r.Track(m.dir, r.Standard()); err != nil {
		t.Fatal(err)
	}
	m.write(3)
	m.replace()
	m.kept()
	m.write(2)
	s, err := logfile.Open(m.path())
	if err != nil {
		t.Fatal(err)
	}
	m.write(2)
	m.replace()
	m.kept()
	m.write(1)
	n := 0
	count := func(e logfile.Entry) error { n += bytes.Count(e.Data, []byte("\n")); return nil }
	if err := s.Read(t.Context(), count); err != nil || n != 5 {
		t.Errorf("got %d records, %v; want 5", n, err)
	}
}
