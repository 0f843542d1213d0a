package runtime_test

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
)

func TestAttachInputEndsWithClient(t *testing.T) {
	h := newHost(t)
	c := h.container("cat")
	c.l.OpenStdin, c.l.StdinOnce, c.l.Attach = true, true, true
	a := c.mustCreate().attach()
	c.start()
	text := strings.Repeat("0123456789abcdef", 8<<10) // more than a packet and more than a pipe holds
	go func() {
		if _, err := a.Write([]byte(text)); err != nil {
			t.Errorf("Write: %v", err)
		}
		if err := a.CloseStdin(); err != nil {
			t.Errorf("CloseStdin: %v", err)
		}
	}()

	if stdout, _ := readAll(t, a); stdout != text {
		t.Errorf("got %d bytes back, want %d", len(stdout), len(text))
	}

	c.wantExit(0)
}

// conmon keeps the descriptor of a client that left until the container prints something.
func TestMonitorHasOneClient(t *testing.T) {
	h := newHost(t)
	c := h.container("sh", "-c", "read x; echo has $x; read x; echo got $x")
	c.l.OpenStdin = true
	c.mustCreate().start()
	a := c.attach()
	if _, err := a.Write([]byte("y\n")); err != nil {
		t.Fatal(err)
	}
	waitOutput(t, a, "has y") // the monitor has accepted the connection
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	before := c.monitorFiles()
	for range 250 {
		if err := c.attach().Close(); err != nil {
			t.Fatal(err)
		}
	}
	if after := c.monitorFiles(); after != before {
		t.Errorf("the monitor has %d open files, had %d before 250 clients", after, before)
	}

	a = c.attach()
	if _, err := a.Write([]byte("x\n")); err != nil {
		t.Fatal(err)
	}
	waitOutput(t, a, "got x")
	c.wantExit(0)
}

func TestUnattachedLaunchKeepsInputOpen(t *testing.T) {
	h := newHost(t)
	c := h.container("sh", "-c", "echo hello; while read x; do echo got $x; done")
	c.l.OpenStdin = true
	c.mustCreate().start()
	for _, word := range []string{"one", "two"} {
		a := c.attach()
		if _, err := a.Write([]byte(word + "\n")); err != nil {
			t.Fatal(err)
		}
		waitOutput(t, a, "got "+word)
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}

	c.kill()
	c.wantExit(137)
}

func TestClosedInputReadsEOF(t *testing.T) {
	h := newHost(t)
	c := h.container("cat")
	c.l.Attach = true
	a := c.mustCreate().attach()
	c.start()
	if _, err := a.Write([]byte("x")); !fault.Is(err, fault.Busy) {
		t.Errorf("Write: got %v, want busy", err)
	}
	c.wantExit(0)
}

func TestTerminalResize(t *testing.T) {
	h := newHost(t)
	c := h.container("sh", "-c", "stty size; trap 'stty size; exit 4' WINCH; echo ready; while :; do sleep 0.05; done")
	c.l.TTY, c.l.OpenStdin, c.l.Attach = true, true, true
	c.opts.Process.Rows, c.opts.Process.Cols = 25, 90
	a := c.mustCreate().attach()
	c.start()
	waitOutput(t, a, "25 90\r\nready")
	if err := a.Resize(50, 132); err != nil {
		t.Fatal(err)
	}

	if stdout, stderr := readAll(t, a); stdout != "50 132\r\n" && !strings.HasSuffix(stdout, "\n50 132\r\n") ||
		stderr != "" {
		t.Errorf("got output %q and %q after the resize", stdout, stderr)
	}

	c.wantExit(4)
}

func TestTerminalReattach(t *testing.T) {
	h := newHost(t)
	c := h.container("sh")
	c.l.TTY, c.l.OpenStdin, c.l.Attach = true, true, true
	a := c.mustCreate().attach()
	c.start()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}

	a = c.attach()
	if _, err := a.Write([]byte("echo b''ack; exit 5\n")); err != nil {
		t.Fatal(err)
	}

	waitOutput(t, a, "back\r\n")
	c.wantExit(5)
}

func TestSlowClientDoesNotHideExit(t *testing.T) {
	h := newHost(t)
	h.driver.StallAfter(50 * time.Millisecond)
	c := h.container("yes")
	c.l.Attach = true
	a := c.mustCreate().attach()
	c.start()
	waitFor(t, "a log that does not grow, as the client does not read", func() bool {
		size := func() int64 {
			info, err := os.Stat(c.l.Output.Path)
			if err != nil {
				return 0
			}
			return info.Size()
		}
		before := size()
		time.Sleep(20 * time.Millisecond)
		return before > 0 && size() == before
	})
	c.kill()
	c.wantExit(137)
	_ = a.Close()
}

// The queue of the monitor's socket is full while it is stopped.
func TestManyClientsAttachBeforeStart(t *testing.T) {
	h := newHost(t)
	c := h.container("seq", "3")
	c.l.Attach = true
	first := c.mustCreate().attach()
	c.signalMonitor(syscall.SIGSTOP)
	const count = 30
	attached := make(chan *runtime.Attachment, count)
	for range count {
		go func() {
			a, err := h.driver.Attach(h.ctx, c.id)
			if err != nil {
				t.Error(err)
			}
			attached <- a
		}()
	}
	time.Sleep(50 * time.Millisecond)
	c.signalMonitor(syscall.SIGCONT)
	all := []*runtime.Attachment{first}
	for range count {
		all = append(all, <-attached)
	}
	c.start()
	for _, a := range all {
		if stdout, _ := readAll(t, a); stdout != "1\n2\n3\n" {
			t.Errorf("got %q", stdout)
		}
	}
	c.wantExit(0)
}

// Only the client that started the container makes it wait.
func TestOtherClientsDoNotBlockContainer(t *testing.T) {
	h := newHost(t)
	c := h.container("sh", "-c", "seq 200000; echo done >&2")
	c.l.Attach = true
	first := c.mustCreate().attach()
	idle := c.attach()
	c.start()
	if stdout, stderr := readAll(t, first); len(stdout) != 1288895 || stderr != "done\n" {
		t.Errorf("got %d bytes and %q", len(stdout), stderr)
	}
	c.wantExit(0)
	if stdout, _ := readAll(t, idle); len(stdout) != 1288895 {
		t.Errorf("got %d bytes later", len(stdout))
	}
}

func TestClientReadsOutputAfterDelete(t *testing.T) {
	h := newHost(t)
	c := h.container("seq", "5000")
	c.l.Attach = true
	a := c.mustCreate().attach()
	c.start()
	c.wantExit(0)
	c.remove()
	if stdout, _ := readAll(t, a); !strings.HasPrefix(stdout, "1\n2\n") || !strings.HasSuffix(stdout, "\n5000\n") {
		t.Errorf("got %d bytes of the output", len(stdout))
	}
	_ = a.Close()
}
