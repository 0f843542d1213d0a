// Package process integrates the agent with the host: directory locks, a PID file, signals, and
// notifications of the service manager. It does not depend on services.
package process

import (
	"context"
	"log/slog"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/notify"
)

// SignalContext returns a context that ends with the first SIGTERM or SIGINT; force is called at
// the second. The channel receives one value for pending SIGHUPs. The returned function restores
// the signals.
func SignalContext(ctx context.Context, log *slog.Logger, force func()) (context.Context, <-chan struct{}, func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals, hangups := make(chan os.Signal, 8), notify.NewSignal()
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	go func() {
		for s := range signals {
			switch {
			case s == unix.SIGHUP:
				hangups.Notify() // a pending reload reads the same configuration
			case ctx.Err() == nil:
				log.Info("stopping", "signal", s.String())
				cancel()
			default:
				log.Warn("stopping immediately", "signal", s.String())
				force()
			}
		}
	}()
	return ctx, hangups, func() {
		signal.Stop(signals)
		close(signals)
		cancel()
	}
}
