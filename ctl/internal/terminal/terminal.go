// Package terminal accesses the user's terminal: its size and its raw mode. It does not depend on
// containers.
package terminal

import (
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/term"
)

// Terminal is the user's terminal.
type Terminal struct{ fd int }

// Of returns the terminal of a reader or writer, or nil if it is not a terminal.
func Of(stream any) *Terminal {
	f, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return &Terminal{int(f.Fd())}
}

// Size returns the number of rows and columns, or zeros if they are unknown.
func (t *Terminal) Size() (rows, columns int) {
	columns, rows, err := term.GetSize(t.fd)
	if err != nil {
		return 0, 0
	}
	return rows, columns
}

// Raw enters raw mode. restore leaves it; more calls of restore do nothing.
func (t *Terminal) Raw() (restore func(), err error) {
	before, err := term.MakeRaw(t.fd)
	if err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() { _ = term.Restore(t.fd, before) }), nil
}

// ReadPassword reads a line without echo.
func (t *Terminal) ReadPassword() (string, error) {
	line, err := term.ReadPassword(t.fd)
	return string(line), err
}

// Watch calls changed with the current size and with each new size until stop is called.
func (t *Terminal) Watch(changed func(rows, columns int)) (stop func()) {
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGWINCH)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			changed(t.Size())
			select {
			case <-signals:
			case <-done:
				return
			}
		}
	})

	return sync.OnceFunc(func() {
		signal.Stop(signals)
		close(done)
		running.Wait()
	})
}
