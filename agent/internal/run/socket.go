package run

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync/atomic"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/internal/listen"
	"github.com/fairlead/fairlead/proto/fault"
)

// socket is a server with its listeners.
type socket struct {
	name      string
	server    listenServer
	listeners []*listener
}

// listenServer is a gRPC or HTTP server.
type listenServer interface {
	Serve(l net.Listener) error
	Stop(ctx context.Context)
}

// listener is a listener that can be closed while its server keeps running.
type listener struct {
	net.Listener
	host   config.Host
	closed atomic.Bool // closed intentionally
}

// open opens the listeners of all hosts, or none. handed holds the sockets passed by systemd.
func open(ctx context.Context, log *slog.Logger, hosts []config.Host, owners listen.Access,
	handed []*os.File) ([]*listener, error) {
	var all []*listener
	for _, h := range hosts {
		opened, err := listen.Open(ctx, []config.Host{h}, owners, handed...)
		if err != nil {
			return nil, errors.Join(err, closeAll(all))
		}
		for _, l := range opened {
			all = append(all, &listener{Listener: listen.Limit(l, log), host: h})
		}
	}
	return all, nil
}

func closeAll(listeners []*listener) error {
	var all error
	for _, l := range listeners {
		all = errors.Join(all, l.Close())
	}
	return all
}

// serve serves the listeners.
func (s *socket) serve(log *slog.Logger, w *runGroup, listeners []*listener) {
	for _, l := range listeners {
		log.Info("listening", "server", s.name, "address", l.Addr().String())
		go func() {
			if err := s.server.Serve(l); err != nil && !l.closed.Load() {
				w.end(fault.Wrap(err, fault.Internal, "listener "+l.Addr().String(), "failed"))
			}
		}()
	}
}

// updateListeners serves new listeners and closes those that are not wanted any more. Connections
// are kept.
func (s *socket) updateListeners(log *slog.Logger, w *runGroup, opened []*listener, wanted []config.Host) {
	s.serve(log, w, opened)
	kept := opened
	for _, l := range s.listeners {
		if slices.Contains(wanted, l.host) {
			kept = append(kept, l)
			continue
		}
		l.closed.Store(true)
		if err := l.Close(); err != nil {
			log.Warn("cannot close listener", "address", l.Addr().String(), "error", err)
			continue
		}
		log.Info("listener closed", "server", s.name, "address", l.Addr().String())
	}
	s.listeners = kept
}

// missing returns the wanted hosts that have no listener.
func (s *socket) missing(wanted []config.Host) []config.Host {
	return slices.DeleteFunc(slices.Clone(wanted), func(h config.Host) bool {
		return slices.ContainsFunc(s.listeners, func(l *listener) bool { return l.host == h })
	})
}
