package session

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/logfile"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
)

// talker is a process that writes frames until it is closed.
type talker struct {
	launch.Output
	read   atomic.Int64
	closed chan struct{}
}

func (p *talker) Read() (runtime.Frame, error) {
	select {
	case <-p.closed:
		return runtime.Frame{}, io.EOF
	default:
		p.read.Add(1)
		return runtime.Frame{Stream: runtime.Stdout, Data: []byte("live")}, nil
	}
}

func (p *talker) Close() error {
	close(p.closed)
	return nil
}

// The output is that of the log, in order. The process does not wait for the client.
func TestLoggedOutputIsThatOfTheLog(t *testing.T) {
	process := &talker{closed: make(chan struct{})}
	const lines = 10_000
	l := newLogged(process, func(_ context.Context, emit func(logfile.Entry) error) error {
		buf := []byte("out\n")
		for i := range lines {
			stream := logfile.Stdout
			if i%100 == 99 {
				stream = logfile.Stderr
			}
			if err := emit(logfile.Entry{Stream: stream, Data: buf}); err != nil {
				return err
			}
		}
		return nil
	})
	for process.read.Load() < 1000 {
		continue // without a Read of the client
	}

	var out, errs strings.Builder
	for {
		f, err := l.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(f.Data) > maxFrame {
			t.Fatalf("got a frame of %d bytes", len(f.Data))
		}
		if f.Stream == runtime.Stderr {
			errs.Write(f.Data)
		} else {
			out.Write(f.Data)
		}
	}
	if got, want := out.String(), strings.Repeat("out\n", lines*99/100); got != want {
		t.Errorf("stdout: got %d bytes, want %d", len(got), len(want))
	}
	if got, want := errs.String(), strings.Repeat("out\n", lines/100); got != want {
		t.Errorf("stderr: got %d bytes, want %d", len(got), len(want))
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestLoggedEndsWithClose(t *testing.T) {
	process := &talker{closed: make(chan struct{})}
	stopped := make(chan struct{})
	l := newLogged(process, func(ctx context.Context, emit func(logfile.Entry) error) error {
		defer close(stopped)
		for {
			if err := emit(logfile.Entry{Stream: logfile.Stdout, Data: []byte("x")}); err != nil {
				return err
			}
		}
	})
	if _, err := l.Read(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	<-stopped
	for {
		if _, err := l.Read(); err != nil {
			if !errors.Is(err, os.ErrClosed) && !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			return
		}
	}
}
