package progress

import (
	"strings"
	"testing"
	"time"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

func phase(step, subject string, done, total int64) *containerv1.Progress {
	return &containerv1.Progress{Step: step, Subject: subject, Done: done, Total: total}
}

func TestPlainOutputHasLinePerPhase(t *testing.T) {
	var out strings.Builder
	p := New(&out, false, time.Now)
	for _, m := range []*containerv1.Progress{
		phase("resolve image", "", 0, 0), phase("pulling", "nginx:latest", 0, 0), phase("waiting", "aaa", 0, 0),
		phase("downloading", "aaa", 1, 9), phase("downloading", "aaa", 9, 9), phase("exists", "bbb", 0, 0),
		phase("unpacking", "aaa", 0, 0), phase("done", "aaa", 0, 0), phase("join network", "", 0, 0),
	} {
		p.Show(m)
	}

	p.Finish()
	want := "nginx:latest: Pulling\naaa: Downloading\nbbb: Already exists\naaa: Unpacking\naaa: Done\n"
	if out.String() != want {
		t.Errorf("%q\nwant\n%q", &out, want)
	}
}

func TestStepsArePrinted(t *testing.T) {
	var out strings.Builder
	p := New(&out, true, time.Now)
	p.Show(phase("join network", "", 0, 0))
	p.Show(phase("publish ports", "8080", 0, 0))
	if want := "join network\npublish ports 8080\n"; out.String() != want {
		t.Errorf("%q, want %q", &out, want)
	}
}

// screen returns the text of a terminal after the writes. It supports "up n lines" and "clear from
// here".
func screen(t *testing.T, written string) []string {
	t.Helper()

	shown := []string{""}
	for part := range strings.SplitSeq(written, "\x1b[J") {
		text, up, moved := strings.Cut(part, "\x1b[")
		for _, c := range text {
			if c == '\n' {
				shown = append(shown, "")
				continue
			}
			shown[len(shown)-1] += string(c)
		}
		if moved {
			n := int(up[0] - '0')
			if !strings.HasSuffix(up, "A") || n >= len(shown) {
				t.Fatalf("the cursor is moved by %q with %d lines shown", up, len(shown))
			}
			shown = append(shown[:len(shown)-1-n], "")
		}
	}

	return shown[:len(shown)-1]
}

func TestTerminalShowsBarPerLayer(t *testing.T) {
	var out strings.Builder
	clock := time.Unix(0, 0)
	b := &bars{w: &out, size: func() (int, int) { return 4, 100 }, now: func() time.Time { return clock }}
	b.Show(phase("pulling", "nginx", 0, 0))
	b.Show(phase("join network", "", 0, 0))
	for _, layer := range []string{"a1", "b2", "c3", "d4"} {
		b.Show(phase("downloading", layer, 0, 100))
	}

	b.Show(phase("downloading", "a1", 50, 100)) // too early to be drawn
	if got := screen(t, out.String()); len(got) != 3 || strings.Contains(got[1], "=") {
		t.Errorf("%q", got)
	}

	clock = clock.Add(redrawInterval)
	b.Show(phase("downloading", "a1", 50, 100))
	b.Show(phase("done", "b2", 0, 0))
	b.Show(phase("exists", "e5", 0, 0))
	bar := "a1: Downloading            [" + strings.Repeat("=", 20) + strings.Repeat(" ", 20) + "]  50B/100B"
	got := screen(t, out.String())
	want := []string{"b2: Done", "e5: Already exists", "nginx: Pulling", bar}
	if len(got) != 5 || strings.Join(got[:4], "\n") != strings.Join(want, "\n") {
		t.Errorf("%q\nwant %q and one more", got, want)
	}

	b.Finish()
	b.Finish()
	if got := screen(t, out.String()); strings.Join(got, "|") != "b2: Done|e5: Already exists" {
		t.Errorf("at the end %q", got)
	}
}

func TestLinesFitTerminal(t *testing.T) {
	for _, columns := range []int{10, 30, 200} {
		if n := len([]rune(line(phase("downloading", "0123456789ab", 7, 9), columns))); n >= columns {
			t.Errorf("%d characters in %d columns", n, columns)
		}
	}
}

// The terminal echoes ^C at the cursor, so the block is erased from the first column.
func TestEraseStartsAtFirstColumn(t *testing.T) {
	var out strings.Builder
	b := &bars{w: &out, size: func() (int, int) { return 24, 80 }, now: time.Now}
	b.Show(phase("downloading", "aaa", 1, 2))
	out.Reset()
	b.Finish()
	if got, want := out.String(), "\r\x1b[1A\x1b[J"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
