package command_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/ctl/client/clienttest"
	"github.com/fairlead/fairlead/ctl/internal/command"
	"github.com/fairlead/fairlead/ctl/internal/terminal/terminaltest"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// session is a command line on a terminal with a container that records its input.
type session struct {
	user, program *os.File
	stderr        buffer
	interrupt     func(syscall.Signal)
	inputs        chan *containerv1.Input
	kills         chan string
	code          chan int
}

// onTerminal runs a command line on a terminal of 24 × 80.
func onTerminal(t *testing.T, args string) *session {
	t.Helper()
	s := &session{inputs: make(chan *containerv1.Input, 100), kills: make(chan string, 10), code: make(chan int, 1)}
	s.user, s.program = terminaltest.Pair(t, 24, 80)
	_, host := clienttest.Serve(t,
		clienttest.Script{"RunContainer": {{Serve: s.container}}, "KillContainer": {{Serve: s.kill}}})
	c := newCLI(t, nil, s.program, s.program, &s.stderr, host)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	s.interrupt = c.Interrupts.Deliver
	go func() { s.code <- command.Run(ctx, c, words(args)) }()
	return s
}

// container runs until it reads "exit", is detached from or is killed.
func (s *session) container(first proto.Message, stream clienttest.Stream) error {
	size := first.(*containerv1.RunContainerRequest).GetRun().GetSize()
	s.inputs <- &containerv1.Input{Event: &containerv1.Input_Resize{Resize: size}}
	if err := stream.Send(runStarted("c1")); err != nil {
		return err
	}

	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		in := m.(*containerv1.RunContainerRequest).GetInput()
		s.inputs <- in
		switch {
		case in.GetDetach():
			return nil
		case strings.Contains(string(in.GetStdin()), "exit"):
			return stream.Send(runExited(5))
		}
	}
}

func (s *session) kill(first proto.Message, stream clienttest.Stream) error {
	req := first.(*containerv1.KillContainerRequest)
	s.kills <- req.GetReference() + " " + req.GetSignal()
	return stream.Send(&containerv1.KillContainerResponse{})
}

func (s *session) raw(t *testing.T) bool {
	t.Helper()
	mode, err := unix.IoctlGetTermios(int(s.program.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return mode.Lflag&unix.ECHO == 0
}

func (s *session) types(t *testing.T, keys string) {
	t.Helper()
	if _, err := s.user.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// ended waits until the program exits.
func (s *session) ended(t *testing.T, want int) {
	t.Helper()
	if code := await(t, "the exit of the program", s.code); code != want {
		t.Errorf("exit code %d, want %d; stderr %q", code, want, s.stderr.String())
	}
	if s.raw(t) {
		t.Error("the terminal was left in raw mode")
	}
}

// got returns all input so far: typed keys and terminal sizes.
func (s *session) got() (typed string, sizes []string, left bool) {
	for {
		select {
		case in := <-s.inputs:
			typed += string(in.GetStdin())
			left = left || in.GetDetach()
			if r := in.GetResize(); r != nil {
				sizes = append(sizes, r.String())
			}
		default:
			return typed, sizes, left
		}
	}
}

func TestTerminalForwardsEachKey(t *testing.T) {
	s := onTerminal(t, "run -it x")
	eventually(t, "raw mode", func() bool { return s.raw(t) })
	s.types(t, "ls\x03\x10")
	var typed string
	eventually(t, "the keys arrive", func() bool {
		more, _, _ := s.got()
		typed += more
		return strings.Contains(typed, "ls\x03")
	})
	s.types(t, "exit\r")
	s.ended(t, 5)
	if more, _, _ := s.got(); typed+more != "ls\x03\x10exit\r" {
		t.Errorf("the container read %q", typed+more)
	}
}

func TestContainerTerminalHasUserSize(t *testing.T) {
	s := onTerminal(t, "run -it x")
	eventually(t, "raw mode", func() bool { return s.raw(t) })
	terminaltest.SetSize(t, s.program, 50, 132)
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}

	var sizes []string
	eventually(t, "the new size", func() bool {
		_, more, _ := s.got()
		sizes = append(sizes, more...)
		return len(sizes) > 0 && strings.Contains(sizes[len(sizes)-1], "132")
	})
	if !strings.Contains(sizes[0], "80") {
		t.Errorf("sizes %q", sizes)
	}

	s.types(t, "exit")
	s.ended(t, 5)
}

func TestDetachKeysKeepContainerRunning(t *testing.T) {
	for args, keys := range map[string]string{"run -it x": "a\x10\x11b",
		"run -it --detach-keys ctrl-x,y x": "a\x18yb"} {
		s := onTerminal(t, args)
		eventually(t, "raw mode", func() bool { return s.raw(t) })
		s.types(t, keys)
		s.ended(t, 0)
		if s.stderr.String() != "read escape sequence\n" {
			t.Errorf("stderr %q", s.stderr.String())
		}
		if typed, _, left := s.got(); typed != "a" || !left {
			t.Errorf("the container read %q, was left: %v", typed, left)
		}
	}
}

func TestForegroundRunForwardsSignals(t *testing.T) {
	s := onTerminal(t, "run -i x")
	s.awaitSignals(t)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		s.interrupt(sig)
		if got, want := s.killed(t), fmt.Sprintf("c1 %d", sig); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	s.types(t, "exit\r")
	s.ended(t, 5)
}

func TestThirdInterruptExitsClient(t *testing.T) {
	s := onTerminal(t, "run -i x")
	s.awaitSignals(t)
	for range 3 {
		s.interrupt(syscall.SIGINT)
	}
	s.ended(t, 130)
	if want := "fairlead: container c1: still running after 3 signals; remove it with: fairlead rm -f " +
		"c1\n"; s.stderr.String() != want {
		t.Errorf("got %q, want %q", s.stderr.String(), want)
	}
}

// awaitSignals waits until signals are forwarded to the container, by sending a signal that tests
// ignore.
func (s *session) awaitSignals(t *testing.T) {
	t.Helper()
	eventually(t, "signals are passed on", func() bool {
		s.interrupt(syscall.SIGUSR1)
		select {
		case <-s.kills:
			return true
		case <-time.After(20 * time.Millisecond):
			return false
		}
	})
}

// killed returns the next signal of the container, without those of awaitSignals.
func (s *session) killed(t *testing.T) string {
	t.Helper()
	for {
		if got := await(t, "a signal", s.kills); got != "c1 10" {
			return got
		}
	}
}

func TestSignalWithoutContainerExitsProgram(t *testing.T) {
	wait := clienttest.Call{Serve: func(_ proto.Message, s clienttest.Stream) error {
		<-s.Context().Done()
		return nil
	}}
	agent, host := clienttest.Serve(t, clienttest.Script{"WaitContainer": {wait}})
	var out, errs buffer
	c := newCLI(t, nil, strings.NewReader(""), &out, &errs, host)
	ctx, stop := c.Interrupts.Listen(t.Context())
	defer stop()
	code := make(chan int, 1)
	go func() { code <- command.Run(ctx, c, []string{"wait", "c1"}) }()
	eventually(t, "the call is pending", func() bool { return len(agent.Requests()) == 1 })
	c.Interrupts.Deliver(syscall.SIGINT)
	if got := await(t, "the exit of the program", code); got != 130 || out.String()+errs.String() != "" {
		t.Errorf("exit code %d, output %q %q", got, out.String(), errs.String())
	}
}

// A waiting shell redraws its prompt when the terminal size changes, as in Docker.
func TestAttachRedrawsThePrompt(t *testing.T) {
	user, program := terminaltest.Pair(t, 24, 80)
	_ = user
	sizes := make(chan *containerv1.TerminalSize, 10)
	shell := clienttest.Call{Serve: func(first proto.Message, s clienttest.Stream) error {
		sizes <- first.(*containerv1.AttachContainerRequest).GetAttach().GetSize()
		started := &containerv1.AttachContainerResponse{
			Event: &containerv1.AttachContainerResponse_Started{Started: &containerv1.Started{Id: "c1"}},
		}
		if err := s.Send(started); err != nil {
			return err
		}

		for {
			m, err := s.Recv()
			if err != nil {
				return err
			}
			if size := m.(*containerv1.AttachContainerRequest).GetInput().GetResize(); size != nil {
				sizes <- size
				return s.Send(&containerv1.AttachContainerResponse{
					Event: &containerv1.AttachContainerResponse_Exited{Exited: &containerv1.Exited{}},
				})
			}
		}
	}}
	running := &containerv1.Container{Id: "c1", Status: containerv1.ContainerStatus_CONTAINER_STATUS_RUNNING,
		Config: &containerv1.ContainerConfig{Tty: true, OpenStdin: true}}
	_, host := clienttest.Serve(t, clienttest.Script{"AttachContainer": {shell},
		"GetContainer": {clienttest.Answers(&containerv1.GetContainerResponse{Container: running})}})
	var errs buffer
	if code := command.Run(t.Context(), newCLI(t, nil, program, program, &errs, host),
		[]string{"attach", "web"}); code != 0 {
		t.Fatalf("code %d, %s", code, errs.String())
	}

	before, after := await(t, "the first size", sizes), await(t, "the true size", sizes)
	if before.GetRows() != 25 || before.GetColumns() != 81 || after.GetRows() != 24 || after.GetColumns() != 80 {
		t.Errorf("got sizes %v and %v, want 25x81 and 24x80", before, after)
	}
}
