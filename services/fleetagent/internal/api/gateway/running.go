package gateway

import (
	"context"
	"net"

	"github.com/fairlead/fairlead/proto/fault"
)

// Running is a gateway that runs. Nil is one that does not.
type Running struct {
	Serial uint64 // of its credentials
	stop   context.CancelFunc
	done   chan struct{}
	store  interface{ Close() error }
}

// Start opens the listener of a gateway and runs it. It closes the client of the store when it stops.
func Start(address string, c Config) (*Running, error) {
	ctx, cancel := context.WithCancel(context.Background())
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		cancel()
		return nil, fault.New(fault.Busy, "port "+address+"/tcp", "cannot be opened for the store",
			fault.WithCause(err))
	}
	r := &Running{Serial: c.Serial, stop: cancel, done: make(chan struct{}), store: c.Store}
	go func() {
		defer close(r.done)
		if err := Serve(ctx, l, c); err != nil {
			c.Log.Error("calls to the store are not passed on", "error", err)
		}
	}()
	return r, nil
}

// Runs reports whether the gateway runs.
func (r *Running) Runs() bool {
	if r == nil {
		return false
	}
	select {
	case <-r.done:
		return false
	default:
		return true
	}
}

// Stop stops the gateway and waits until it has stopped. It can be called again.
func (r *Running) Stop() error {
	if r == nil || r.stop == nil {
		return nil
	}
	r.stop()
	<-r.done
	r.stop = nil
	return r.store.Close()
}
