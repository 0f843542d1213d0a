package terminal_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/terminal"
)

// pass sends a descriptor to the socket of a console, as an OCI runtime does.
func pass(path string, fds ...int) error {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	defer conn.Close()
	_, _, err = conn.WriteMsgUnix([]byte("/dev/pts/0"), unix.UnixRights(fds...), nil)
	return err
}

func TestConsoleReceivesTerminal(t *testing.T) {
	dir := t.TempDir() + "/" + strings.Repeat("d", 100) // longer than the path of a socket can be
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := terminal.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}

	host, end, err := terminal.OpenPty(33, 99)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	defer end.Close()
	if err := pass(c.Path(), int(end.Fd())); err != nil {
		t.Fatal(err)
	}

	got, err := c.Accept(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	size, err := unix.IoctlGetWinsize(int(got.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Row != 33 || size.Col != 99 {
		t.Errorf("got size %+v, %v", size, err)
	}
}

func TestConsoleReceivesTerminalOfEndedRuntime(t *testing.T) {
	ended := make(chan struct{})
	close(ended)
	end, other, err := os.Pipe() // Accept changes the mode of what it receives
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	defer other.Close()
	for range 50 {
		c, err := terminal.Listen(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if err := pass(c.Path(), int(end.Fd())); err != nil {
			t.Fatal(err)
		}
		got, err := c.Accept(t.Context(), ended)
		if err != nil {
			t.Fatal(err)
		}
		_ = got.Close()
	}
}

func TestConsoleRejectsOtherNumbersOfTerminals(t *testing.T) {
	for _, count := range []int{0, 2} {
		c, err := terminal.Listen(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if err := pass(c.Path(), []int{1, 2}[:count]...); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Accept(t.Context(), nil); err == nil {
			_ = got.Close()
			t.Errorf("%d descriptors: got no error", count)
		}
	}
}

func TestAcceptEndsWithRuntimeOrContext(t *testing.T) {
	ended := make(chan struct{})
	close(ended)
	canceled, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	for name, accept := range map[string]func(*terminal.Console) (*os.File, error){
		"the runtime has ended": func(c *terminal.Console) (*os.File, error) { return c.Accept(t.Context(), ended) },
		"canceled":              func(c *terminal.Console) (*os.File, error) { return c.Accept(canceled, nil) },
	} {
		c, err := terminal.Listen(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := accept(c); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
