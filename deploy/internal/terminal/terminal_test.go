package terminal_test

import (
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/deploy/internal/terminal"
)

func start(t *testing.T, script string) *terminal.Terminal {
	t.Helper()
	term, err := terminal.Start(exec.Command("sh", "-c", script), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(term.Close)
	return term
}

func expect(t *testing.T, term *terminal.Terminal, pattern string) {
	t.Helper()
	if err := term.Expect(pattern, time.Minute); err != nil {
		t.Fatalf("%v; the terminal shows:\n%s", err, term.Shown())
	}
}

func TestTypeAndResize(t *testing.T) {
	term := start(t, `echo ready; read line; echo "got $line"; stty size; exit 5`)
	expect(t, term, "ready")
	if err := term.Resize(33, 101); err != nil {
		t.Fatal(err)
	}

	if err := term.Type("hello\n"); err != nil {
		t.Fatal(err)
	}

	expect(t, term, "got hello")
	expect(t, term, "33 101")
	if code, err := term.Wait(time.Minute); err != nil || code != 5 {
		t.Errorf("exit code %d, %v", code, err)
	}
}

func TestExpectAdvances(t *testing.T) {
	term := start(t, "echo once; read line")
	expect(t, term, "once")
	if err := term.Expect("once", 50*time.Millisecond); err == nil {
		t.Error("it is found twice")
	}
}

func TestHangUpSendsSIGHUP(t *testing.T) {
	caught := make(chan os.Signal, 1) // nohup makes programs ignore SIGHUP, and a shell cannot trap it then
	signal.Notify(caught, syscall.SIGHUP)
	defer signal.Stop(caught)
	term := start(t, "trap 'exit 9' HUP; echo ready; while :; do sleep 0.05; done")
	expect(t, term, "ready")
	if err := term.HangUp(); err != nil {
		t.Fatal(err)
	}
	if code, err := term.Wait(time.Minute); err != nil || code != 9 {
		t.Errorf("exit code %d, %v", code, err)
	}
}
