package cli

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// forwarded are the signals that a foreground container is given in the program's place. Stopping and continuing stay the
// program's own, as do those that are about its own terminal and children.
func forwarded() []os.Signal {
	return []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2}
}

// Interrupts hands the signals that the program gets to whoever is to have them: by default they end the program's context.
type Interrupts struct {
	mu      sync.Mutex
	handler func(syscall.Signal)
}

// Handle gives the signals to handler until restore is called.
func (i *Interrupts) Handle(handler func(syscall.Signal)) (restore func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	before := i.handler
	i.handler = handler
	return func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.handler = before
	}
}

// Deliver hands over one signal.
func (i *Interrupts) Deliver(sig syscall.Signal) {
	i.mu.Lock()
	handler := i.handler
	i.mu.Unlock()
	if handler != nil {
		handler(sig)
	}
}

// Listen begins to take the program's signals, and gives a context that the first one ends unless another handler has it. A second one
// then ends the program itself.
func (i *Interrupts) Listen(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 8)
	i.Handle(func(sig syscall.Signal) {
		cancel(&Interrupted{sig})
		signal.Reset(forwarded()...)
	})
	signal.Notify(signals, forwarded()...)
	go func() {
		for sig := range signals {
			i.Deliver(sig.(syscall.Signal))
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		cancel(nil)
	}
}
