package api

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
)

// silent is a process without output.
type silent struct {
	launch.Output
	closed chan struct{}
	close  func()
}

func (s silent) Read() (runtime.Frame, error) {
	<-s.closed
	return runtime.Frame{}, net.ErrClosed
}

func (s silent) Close() error {
	s.close()
	return nil
}

// A client that has closed its side and then leaves does not keep the process's output open.
func TestClientLeavesAfterEndOfInput(t *testing.T) {
	closed := make(chan struct{})
	process := silent{closed: closed, close: sync.OnceFunc(func() { close(closed) })}
	ctx, cancel := context.WithCancel(t.Context())
	c := client{recv: func() (*containerv1.Input, error) {
		cancel()
		return nil, io.EOF
	}}
	if err := c.pump(ctx, process); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
