package logfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/fault"
)

const testTimeout = 20 * time.Second

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// record returns a record of conmon, some seconds after noon.
func record(second int, stream, tag, text string) string {
	at := noon.Add(time.Duration(second) * time.Second).Format("2006-01-02T15:04:05.000000000-07:00")
	return fmt.Sprintf("%s %s %s %s\n", at, stream, tag, text)
}

func write(t testing.TB, records ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte(strings.Join(records, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t testing.TB, path string, o Options) string {
	t.Helper()
	var out strings.Builder
	err := Read(t.Context(), path, o, func(e Entry) error {
		if e.Stream == Stderr {
			out.WriteByte('!')
		}
		out.Write(e.Data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	return out.String()
}

func TestParse(t *testing.T) {
	for text, want := range map[string]*Entry{
		record(0, "stdout", "F", "hello world"): {noon, Stdout, false, []byte("hello world\n")},
		record(1, "stderr", "P", "half "):       {noon.Add(time.Second), Stderr, true, []byte("half ")},
		record(0, "stdout", "F", ""):            {noon, Stdout, false, []byte("\n")},
		record(0, "stdout", "F", "tty\r"):       {noon, Stdout, false, []byte("tty\r\n")},
		"":                                      nil,
		"\n":                                    nil,
		"yesterday stdout F x\n":                nil,
		record(0, "stdin", "F", "x"):            nil,
		record(0, "stdout", "X", "x"):           nil,
		"2026-11-23T12:00:00Z stdout F":         nil,
	} {
		got, ok := Parse([]byte(text))
		if ok != (want != nil) || ok && (!got.Time.Equal(want.Time) || got.Stream != want.Stream ||
			got.Partial != want.Partial || !bytes.Equal(got.Data, want.Data)) {
			t.Errorf("Parse(%q): got %+v, %v; want %+v", text, got, ok, want)
		}
	}
}

func TestTailCountsWholeLines(t *testing.T) {
	path := write(t, record(0, "stdout", "F", "one"), record(1, "stdout", "P", "tw"), record(2, "stdout", "P", "o"),
		record(3, "stdout", "F", "."),
		record(4, "stderr", "F", "three"), record(5, "stdout", "P", "open"))
	for tail, want := range map[int]string{-1: "one\ntwo.\n!three\nopen", 0: "", 1: "open", 2: "!three\nopen",
		3: "two.\n!three\nopen", 4: "one\ntwo.\n!three\nopen", 99: "one\ntwo.\n!three\nopen"} {
		if got := read(t, path, Options{Tail: tail}); got != want {
			t.Errorf("tail %d: got %q, want %q", tail, got, want)
		}
	}
}

func TestTailOfLongLog(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var all []string
		for i := range rapid.IntRange(0, 60).Draw(rt, "lines") {
			all = append(all, record(i, "stdout", "F",
				strings.Repeat("x", rapid.IntRange(0, 9000).Draw(rt, "length"))+fmt.Sprint(i)))
		}
		n := rapid.IntRange(0, 70).Draw(rt, "tail")
		file := strings.Join(all, "")
		want := len(strings.Join(all[:max(0, len(all)-n)], ""))
		got, err := tailOffset(strings.NewReader(file), int64(len(file)), n)
		if err != nil || got != int64(want) {
			rt.Fatalf("last %d of %d lines: got offset %d, %v; want %d", n, len(all), got, err, want)
		}
	})
}

func TestSinceExcludesOlderRecords(t *testing.T) {
	path := write(t, record(0, "stdout", "F", "old"), record(5, "stdout", "F", "at"), record(6, "stdout", "F", "after"))
	if got := read(t, path, Options{Tail: -1, Since: noon.Add(5 * time.Second)}); got != "at\nafter\n" {
		t.Errorf("since: got %q", got)
	}
	if got := read(t, path, Options{Tail: 3, Since: noon.Add(6 * time.Second)}); got != "after\n" {
		t.Errorf("since and tail: got %q", got)
	}
}

func TestUntilAndOnlySelectRecords(t *testing.T) {
	path := write(t, record(0, "stdout", "F", "a"), record(1, "stderr", "F", "b"), record(2, "stdout", "P", "c"),
		record(3, "stdout", "F", "d"), record(4, "stderr", "F", "e"))
	for what, tc := range map[string]struct {
		o    Options
		want string
	}{
		"until":            {Options{Tail: -1, Until: noon.Add(2 * time.Second)}, "a\n!b\nc"},
		"until, following": {Options{Tail: -1, Until: noon.Add(time.Second), Ended: make(chan struct{})}, "a\n!b\n"},
		"stdout":           {Options{Tail: -1, Only: Stdout}, "a\ncd\n"},
		"stderr of two":    {Options{Tail: 2, Only: Stderr}, "!e\n"},
		"since and until":  {Options{Tail: -1, Since: noon.Add(time.Second), Until: noon.Add(time.Second)}, "!b\n"},
	} {
		if got := read(t, path, tc.o); got != tc.want {
			t.Errorf("%s: got %q, want %q", what, got, tc.want)
		}
	}
}

func TestJoinKeepsOrderOfStreams(t *testing.T) {
	long := strings.Repeat("x", joinSize/2)
	path := write(t, record(0, "stdout", "F", "one"), record(1, "stdout", "P", "two"),
		record(2, "stderr", "F", "three"), record(3, "stdout", "F", long),
		record(4, "stdout", "F", long), record(5, "stdout", "F", "last"))
	want := []Entry{
		{noon.Add(time.Second), Stdout, true, []byte("one\ntwo")},
		{noon.Add(2 * time.Second), Stderr, false, []byte("three\n")},
		{noon.Add(3 * time.Second), Stdout, false, []byte(long + "\n")},
		{noon.Add(5 * time.Second), Stdout, false, []byte(long + "\nlast\n")},
	}
	var got []Entry
	err := Read(t.Context(), path, Options{Tail: -1, Join: true}, func(e Entry) error {
		e.Data = bytes.Clone(e.Data)
		got = append(got, e)
		return nil
	})
	if err != nil || len(got) != len(want) {
		t.Fatalf("got %d entries, %v; want %d", len(got), err, len(want))
	}
	for i, e := range got {
		w := want[i]
		if !e.Time.Equal(w.Time) || e.Stream != w.Stream || e.Partial != w.Partial || !bytes.Equal(e.Data, w.Data) {
			t.Errorf("entry %d: got %d bytes of stream %d at %s, want %d of %d at %s", i, len(e.Data), e.Stream,
				e.Time, len(w.Data), w.Stream, w.Time)
		}
	}
}

func TestLongRecordsAreWhole(t *testing.T) {
	long := strings.Repeat("0123456789", 3*blockSize/10)
	path := write(t, record(0, "stdout", "F", long), record(1, "stdout", "F", "x"))
	for _, join := range []bool{false, true} {
		if got := read(t, path, Options{Tail: -1, Join: join}); got != long+"\nx\n" {
			t.Errorf("join %v: got %d bytes, want %d", join, len(got), len(long)+3)
		}
	}
}

// BenchmarkRead reads 10 MB of lines.
func BenchmarkRead(b *testing.B) {
	path := write(b, strings.Repeat(record(0, "stdout", "F", strings.Repeat("x", 99)), 100_000))
	for name, join := range map[string]bool{"records": false, "joined": true} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(10_000_000)
			for b.Loop() {
				err := Read(b.Context(), path, Options{Tail: -1, Join: join}, func(Entry) error { return nil })
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestMissingLogIsEmpty(t *testing.T) {
	if got := read(t, filepath.Join(t.TempDir(), "none"), Options{Tail: -1}); got != "" {
		t.Errorf("got %q", got)
	}
	err := Read(t.Context(), t.TempDir(), Options{Tail: -1}, func(Entry) error { return nil })
	if !fault.Is(err, fault.Internal) {
		t.Errorf("a directory: got %v", err)
	}
}

func TestFollowUntilContainerEnds(t *testing.T) {
	path := write(t, record(0, "stdout", "F", "zero"))
	ended, got := make(chan struct{}), make(chan string, 10)
	done := make(chan error, 1)
	go func() {
		done <- Read(t.Context(), path, Options{Tail: -1, Ended: ended},
			func(e Entry) error { got <- string(e.Data); return nil })
	}()

	next := func(want string) {
		t.Helper()
		select {
		case s := <-got:
			if s != want {
				t.Errorf("got %q, want %q", s, want)
			}
		case <-time.After(testTimeout):
			t.Fatalf("timeout waiting for %q", want)
		}
	}
	next("zero\n")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	add := func(s string) {
		t.Helper()
		if _, err := f.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	add(record(1, "stdout", "F", "one"))
	next("one\n")
	whole := record(2, "stdout", "P", "two") // a record in two writes
	add(whole[:20])
	add(whole[20:])
	next("two")
	add(record(3, "stderr", "F", "last"))
	close(ended)
	next("last\n")
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(testTimeout):
		t.Fatal("Read does not return after the end")
	}
}

func TestReadStopsOnErrorAndCancel(t *testing.T) {
	path := write(t, record(0, "stdout", "F", "one"), record(1, "stdout", "F", "two"))
	enough := errors.New("enough")
	calls := 0
	if err := Read(t.Context(), path, Options{Tail: -1},
		func(Entry) error { calls++; return enough }); !errors.Is(err, enough) || calls != 1 {
		t.Errorf("Read: got %v after %d calls", err, calls)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := Read(ctx, path, Options{Tail: 1, Ended: make(chan struct{})}, func(Entry) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Read: got %v, want canceled", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(record(0, "stdout", "F", "x")))
	f.Add([]byte(record(0, "stderr", "P", "")))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		e, ok := Parse(b)
		if ok && (e.Stream != Stdout && e.Stream != Stderr || !e.Partial && !bytes.HasSuffix(e.Data, []byte("\n"))) {
			t.Errorf("Parse(%q): got %+v", b, e)
		}
		if !bytes.Equal(before, b) {
			t.Error("Parse changed its input")
		}
	})
}

func FuzzTail(f *testing.F) {
	f.Add([]byte(record(0, "stdout", "F", "x")+record(0, "stderr", "P", "y")), 1)
	f.Fuzz(func(t *testing.T, file []byte, n int) {
		at, err := tailOffset(bytes.NewReader(file), int64(len(file)), max(0, n))
		if err != nil || at < 0 || at > int64(len(file)) || at > 0 && at < int64(len(file)) && file[at-1] != '\n' {
			t.Errorf("tailOffset: got %d, %v", at, err)
		}
	})
}
