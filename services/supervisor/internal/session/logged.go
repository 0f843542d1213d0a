package session

import (
	"context"
	"io"
	"os"
	"sync"

	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/logfile"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
)

// AttachWithLog is like Attach, but all output is that of the log: first what is stored, then what is
// added. So no output is lost or doubled between them, however much the process writes.
func (s *Sessions) AttachWithLog(ctx context.Context, ref string, rows, cols uint16) (*launch.Launched, error) {
	c, err := s.Store.FindContainer(ref)
	if err != nil {
		return nil, err
	}
	if err := checkReadable(c); err != nil {
		return nil, err
	}
	launched, err := s.Attach(ctx, c.ID, rows, cols)
	if err != nil {
		return nil, err
	}

	ended := make(chan struct{})
	if launched.Run == nil {
		close(ended)
	} else {
		ended = launched.Run.Exited
	}
	launched.Output = newLogged(launched.Output, func(ctx context.Context, emit func(logfile.Entry) error) error {
		return logfile.Read(ctx, s.LogPath(c.ID), logfile.Options{Tail: -1, Ended: ended}, emit)
	})
	return launched, nil
}

// logged is a connection to a container whose output is read from the log. Input goes to the process.
type logged struct {
	launch.Output
	frames chan runtime.Frame
	next   *runtime.Frame // read from frames already
	stop   context.CancelFunc
	err    error // readable once frames is closed
	once   sync.Once
	closed chan struct{}
}

// pending is the number of log entries that are read ahead of the client.
const pending = 64

// maxFrame bounds the data of a frame that joins log entries.
const maxFrame = 32 << 10

func newLogged(process launch.Output, read func(context.Context, func(logfile.Entry) error) error) *logged {
	ctx, cancel := context.WithCancel(context.Background())
	l := &logged{Output: process, frames: make(chan runtime.Frame, pending), stop: cancel, closed: make(chan struct{})}
	go discard(process)
	go func() {
		defer close(l.frames)
		l.err = read(ctx, func(e logfile.Entry) error {
			f := runtime.Frame{Stream: runtime.Stdout, Data: append([]byte(nil), e.Data...)}
			if e.Stream == logfile.Stderr {
				f.Stream = runtime.Stderr
			}
			select {
			case l.frames <- f:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	return l
}

// discard reads the output of a process, which must not wait for a client that does not read.
func discard(process launch.Output) {
	for {
		if _, err := process.Read(); err != nil {
			return
		}
	}
}

// Read returns the next output. Entries that are available already are joined.
func (l *logged) Read() (runtime.Frame, error) {
	f := l.next
	if l.next = nil; f == nil {
		select {
		case first, ok := <-l.frames:
			if !ok {
				return runtime.Frame{}, l.end()
			}
			f = &first
		case <-l.closed:
			return runtime.Frame{}, os.ErrClosed
		}
	}

	for len(f.Data) < maxFrame {
		select {
		case more, ok := <-l.frames:
			if !ok {
				return *f, nil // the next call returns the end
			}
			if more.Stream != f.Stream || len(f.Data)+len(more.Data) > maxFrame {
				l.next = &more
				return *f, nil
			}
			f.Data = append(f.Data, more.Data...)
		default:
			return *f, nil
		}
	}
	return *f, nil
}

func (l *logged) end() error {
	if l.err != nil {
		return l.err
	}
	return io.EOF
}

// Close disconnects. The container keeps running.
func (l *logged) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.stop()
	})
	return l.Output.Close()
}
