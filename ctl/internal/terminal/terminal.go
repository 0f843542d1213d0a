// Package terminal is the user's own terminal: whether there is one, its size, and raw mode, in which each key is handed to the
// container as it is typed. It knows nothing of containers.
package terminal

import (
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/term"
)

// Terminal is a terminal that the user sits at.
type Terminal struct{ fd int }

// Of gives the terminal behind a reader or writer, nil if it is none.
func Of(stream any) *Terminal {
	f, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return &Terminal{int(f.Fd())}
}

// Size is the number of rows and columns; zeroes if the terminal does not say.
func (t *Terminal) Size() (rows, columns int) {
	columns, rows, err := term.GetSize(t.fd)
	if err != nil {
		return 0, 0
	}
	return rows, columns
}

// Raw hands over every key as it is typed, until restore is called. More calls of restore do nothing.
func (t *Terminal) Raw() (restore func(), err error) {
	before, err := term.MakeRaw(t.fd)
	if err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() { _ = term.Restore(t.fd, before) }), nil
}

// Watch calls changed with each new size until stop is called. It also calls it once at once, as the size may have changed since
// it was last asked for.
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
