package cli

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// forwarded returns the signals that are sent to a foreground container. The others control the
// program itself, its terminal and its children.
func forwarded() []os.Signal {
	return []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1,
		syscall.SIGUSR2}
}

// Interrupts delivers the signals of the program to a handler. The default handler cancels the
// program's context.
type Interrupts struct {
	mu      sync.Mutex
	handler func(syscall.Signal)
}

// Handle replaces the handler until restore is called.
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

// Deliver calls the handler with a signal.
func (i *Interrupts) Deliver(sig syscall.Signal) {
	i.mu.Lock()
	handler := i.handler
	i.mu.Unlock()
	if handler != nil {
		handler(sig)
	}
}

// Listen starts to receive signals. The first one cancels ctx, unless the handler was replaced. A
// second one terminates the program.
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
