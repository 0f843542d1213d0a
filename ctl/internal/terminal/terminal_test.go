package terminal_test

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/ctl/internal/terminal"
	"github.com/fairlead/fairlead/ctl/internal/terminal/terminaltest"
)

func TestOfReturnsNilWithoutTerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = r.Close(), w.Close() }()

	for _, s := range []any{r, w, strings.NewReader(""), nil} {
		if terminal.Of(s) != nil {
			t.Errorf("%v is taken for a terminal", s)
		}
	}

	_, program := terminaltest.Pair(t, 24, 80)
	tty := terminal.Of(program)
	if tty == nil {
		t.Fatal("a terminal is not taken for one")
	}

	if rows, columns := tty.Size(); rows != 24 || columns != 80 {
		t.Errorf("size %d × %d, want 24 × 80", rows, columns)
	}
}

func echoes(t *testing.T, f *os.File) bool {
	t.Helper()
	mode, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return mode.Lflag&unix.ECHO != 0
}

func TestRawModeIsRestored(t *testing.T) {
	_, program := terminaltest.Pair(t, 24, 80)
	restore, err := terminal.Of(program).Raw()
	if err != nil {
		t.Fatal(err)
	}
	if echoes(t, program) {
		t.Error("a raw terminal echoes")
	}

	restore()
	restore()
	if !echoes(t, program) {
		t.Error("the terminal was not restored")
	}
}

func TestWatchReportsSizes(t *testing.T) {
	_, program := terminaltest.Pair(t, 24, 80)
	sizes := make(chan [2]int, 10)
	stop := terminal.Of(program).Watch(func(rows, columns int) { sizes <- [2]int{rows, columns} })
	defer stop()

	next := func(want [2]int) {
		t.Helper()
		select {
		case got := <-sizes:
			if got != want {
				t.Errorf("size %v, want %v", got, want)
			}
		case <-time.After(60 * time.Second):
			t.Fatal("got no size")
		}
	}
	next([2]int{24, 80})
	terminaltest.SetSize(t, program, 50, 132)
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}

	next([2]int{50, 132})
	stop()
	stop()
}
