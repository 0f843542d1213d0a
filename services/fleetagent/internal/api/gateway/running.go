package gateway

import (
	"context"
	"net"

	"github.com/fairlead/fairlead/proto/fault"
)

// Running is a gateway that runs. Nil is one that does not.
type Running struct {
	server *server
	stop   context.CancelFunc
	done   chan struct{}
}

// Start opens the listener of a gateway and runs it. It closes the client of the store when it stops.
func Start(address string, c Config, store Store) (*Running, error) {
	ctx, cancel := context.WithCancel(context.Background())
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		cancel()
		return nil, fault.New(fault.Busy, "port "+address+"/tcp", "cannot be opened for the store",
			fault.WithCause(err))
	}
	r := &Running{server: &server{Config: c}, stop: cancel, done: make(chan struct{})}
	r.server.store.Store(&store)
	go func() {
		defer close(r.done)
		if err := r.server.serve(ctx, l); err != nil {
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
	return r.server.store.Load().Client.Close()
}

// Serial returns the serial number of the credentials in use.
func (r *Running) Serial() uint64 { return r.server.store.Load().Serial }

// Use replaces the store: its endpoints or credentials were changed. The listener stays open. Watches go on with
// the new store.
func (r *Running) Use(store Store) error { return r.server.store.Swap(&store).Client.Close() }
