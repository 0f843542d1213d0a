package container

import (
	"context"
	"strconv"
	"sync/atomic"
	"syscall"

	"github.com/fairlead/fairlead/ctl/client"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// enoughSignals is how many interrupts a container may ignore before the client leaves it, as in Docker.
const enoughSignals = 3

// signalForwarder returns a function that passes signals on to a container, in their order, without waiting for the agent. Errors are
// dropped: a container that has just ended needs no signal.
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
		default: // the agent does not respond, and has enough of them
		}
	}
}

// impatience passes signals on and leaves the session when the user has asked often enough for an end that does not come.
type impatience struct {
	kill  func(syscall.Signal)
	leave func()
	asked int // used by the goroutine that delivers signals only
	last  syscall.Signal
	left  atomic.Bool // set after last
}

func (i *impatience) signal(sig syscall.Signal) {
	if sig == syscall.SIGINT || sig == syscall.SIGTERM {
		i.asked++
	}
	if i.asked >= enoughSignals {
		i.last = sig
		i.left.Store(true)
		i.leave()
		return
	}
	i.kill(sig)
}
