// Package process is what makes an agent a good citizen among the host's processes: locks on the folders that it uses, a pidfile,
// signals, and word to the service manager. It knows nothing of services.
package process

import (
	"context"
	"log/slog"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// SignalContext gives a context that ends with the first SIGTERM or SIGINT; force is called at the second. Each SIGHUP that is not
// told yet can be received from the channel; several that come while nobody receives are one. The returned function puts the
// signals back.
func SignalContext(ctx context.Context, log *slog.Logger, force func()) (context.Context, <-chan struct{}, func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals, hangups := make(chan os.Signal, 8), make(chan struct{}, 1)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	go func() {
		for s := range signals {
			switch {
			case s == unix.SIGHUP:
				select {
				case hangups <- struct{}{}:
				default: // the one that waits will see this one's configuration, too
				}
			case ctx.Err() == nil:
				log.Info("stopping", "signal", s.String())
				cancel()
			default:
				log.Warn("stopping at once", "signal", s.String())
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
