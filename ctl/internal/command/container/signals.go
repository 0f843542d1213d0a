package container

import (
	"context"
	"strconv"
	"sync/atomic"
	"syscall"

	"github.com/fairlead/fairlead/ctl/client"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// enoughSignals is the number of interrupts after which the client detaches from a container that
// ignores them, as in Docker.
const enoughSignals = 3

// signalForwarder returns a function that sends signals to a container in order, without waiting
// for the agent. Errors are dropped: a container that has exited needs no signal.
func signalForwarder(ctx context.Context, cl *client.Client, id string) func(syscall.Signal) {
	signals := make(chan syscall.Signal, 16)
	go func() {
		for {
			select {
			case sig := <-signals:
				req := &containerv1.KillContainerRequest{Reference: id, Signal: strconv.Itoa(int(sig))}
				_, _ = cl.Containers.KillContainer(ctx, req)
			case <-ctx.Done():
				return
			}
		}
	}()
	return func(sig syscall.Signal) {
		select {
		case signals <- sig:
		default: // the agent does not respond: drop the signal
		}
	}
}

// interruptCounter forwards signals and closes the session after enoughSignals interrupts.
type interruptCounter struct {
	kill  func(syscall.Signal)
	leave func()
	count int // used only by the goroutine that delivers signals
	last  syscall.Signal
	left  atomic.Bool // set after last
}

func (i *interruptCounter) signal(sig syscall.Signal) {
	if sig == syscall.SIGINT || sig == syscall.SIGTERM {
		i.count++
	}
	if i.count >= enoughSignals {
		i.last = sig
		i.left.Store(true)
		i.leave()
		return
	}
	i.kill(sig)
}
