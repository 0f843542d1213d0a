// Package terminal runs a program on a pseudo-terminal and acts as its user: it reads the output,
// types, resizes and hangs up.
package terminal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Terminal is a terminal with a running program.
type Terminal struct {
	cmd    *exec.Cmd
	master *os.File
	echo   io.Writer
	done   chan struct{} // closed when the program has exited

	mu    sync.Mutex
	shown strings.Builder
	read  int // read position of Expect
}

// Start starts a program on a new terminal of 24 rows and 80 columns. Its output is also written to
// echo.
func Start(cmd *exec.Cmd, echo io.Writer) (*Terminal, error) {
	master, slave, err := open()
	if err != nil {
		return nil, err
	}

	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = errors.Join(resize(master, 24, 80), cmd.Start(), slave.Close())
	if err != nil {
		return nil, errors.Join(err, master.Close())
	}

	t := &Terminal{cmd: cmd, master: master, echo: echo, done: make(chan struct{})}
	go t.listen()
	return t, nil
}

// open creates a terminal. The master uses Go's poller, so that closing it cancels a pending read.
func open() (master, slave *os.File, err error) {
	if master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return nil, nil, err
	}

	number := 0
	err = control(master, func(fd int) (err error) {
		if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		}
		return err
	})
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		return nil, nil, errors.Join(err, master.Close())
	}

	return master, slave, nil
}

func resize(master *os.File, rows, columns uint16) error {
	return control(master, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
	})
}

// control calls f with the descriptor of a file, which stays in the poller.
func control(f *os.File, use func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = conn.Control(func(fd uintptr) { inner = use(int(fd)) })
	return errors.Join(err, inner)
}

// listen reads until all processes have closed the terminal.
func (t *Terminal) listen() {
	buf := make([]byte, 4096)
	for {
		n, err := t.master.Read(buf)
		t.mu.Lock()
		t.shown.Write(buf[:n])
		t.mu.Unlock()
		_, _ = t.echo.Write(buf[:n])
		if err != nil {
			break
		}
	}

	_ = t.cmd.Wait()
	close(t.done)
}

// Shown returns all output so far.
func (t *Terminal) Shown() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shown.String()
}

// Expect waits until the program writes a match after the previous one.
func (t *Terminal) Expect(pattern string, timeout time.Duration) error {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(timeout); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if at := re.FindStringIndex(t.Shown()[t.read:]); at != nil {
			t.read += at[1]
			return nil
		}
	}
	return fmt.Errorf("%q is not shown", pattern)
}

// Type sends keys.
func (t *Terminal) Type(text string) error {
	_, err := io.WriteString(t.master, text)
	return err
}

// Resize sets the size.
func (t *Terminal) Resize(rows, columns uint16) error {
	return resize(t.master, rows, columns)
}

// HangUp closes the terminal under the program.
func (t *Terminal) HangUp() error { return t.master.Close() }

// Wait waits until the program exits and returns its exit code.
func (t *Terminal) Wait(timeout time.Duration) (int, error) {
	select {
	case <-t.done:
		return t.cmd.ProcessState.ExitCode(), nil
	case <-time.After(timeout):
		return 0, errors.New("the program does not end")
	}
}

// Close kills a running program and closes the terminal.
func (t *Terminal) Close() {
	_ = t.cmd.Process.Kill()
	_ = t.master.Close()
	<-t.done
}
