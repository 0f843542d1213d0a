// Package hostnet changes the settings of the host that networks need: forwarding, and netfilter for
// bridged packets. It stores the former value of each sysctl before it changes it, and restores it.
// Package bringup calls it. It does not change bridges.
package hostnet

import (
	"errors"
	"io/fs"
	"log/slog"
	"strings"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// Config holds the dependencies and settings of a Host.
type Config struct {
	Store        *store.Store
	Kernel       *kernel.Host
	NoForwarding bool   // do not enable forwarding
	Root         string // root of the host's /etc; empty means /
	Log          *slog.Logger
}

// Host changes the settings of the host.
type Host struct {
	store        *store.Store
	kernel       *kernel.Host
	noForwarding bool
	root         string
	log          *slog.Logger
}

// New returns the settings of a host. It changes none.
func New(cfg Config) *Host {
	return &Host{store: cfg.Store, kernel: cfg.Kernel, noForwarding: cfg.NoForwarding, root: cfg.Root, log: cfg.Log}
}

// Start restores the forwarding that an earlier process has enabled, if it is not to be enabled now.
func (h *Host) Start() error {
	if !h.noForwarding {
		return nil
	}
	return h.restoreSysctls(ofForwarding)
}

// Restore restores all changed sysctls.
func (h *Host) Restore() error { return h.restoreSysctls(func(store.Sysctl) bool { return true }) }

// restoreSysctls restores the selected host sysctls. It skips those that another program has
// changed in the meantime, and forwarding of single interfaces if the whole host forwards.
func (h *Host) restoreSysctls(which func(store.Sysctl) bool) error {
	var todo []kernel.Sysctl
	var paths []string
	for _, s := range h.store.Sysctls() {
		if !which(s) {
			continue
		}
		paths = append(paths, s.Path)
		now, err := h.kernel.ReadSysctl(s.Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // its interface is gone
		}
		if err != nil {
			return err
		}
		if now == s.Current && !h.forwardsAnyway(s) {
			todo = append(todo, kernel.Sysctl{Path: s.Path, Value: s.Original})
		}
	}

	changes, err := h.kernel.ApplySysctls(todo)
	if len(changes) > 0 {
		h.log.Info("sysctls restored", "changes", changes)
	}
	if err != nil {
		return err
	}

	return h.store.ForgetSysctls(paths)
}

// ofForwarding reports whether a sysctl was changed to enable forwarding.
func ofForwarding(s store.Sysctl) bool {
	return strings.HasSuffix(s.Path, "forwarding") || strings.HasSuffix(s.Path, "/accept_ra")
}

// forwardsAnyway reports whether a sysctl enables forwarding on one interface while the whole host
// forwards.
func (h *Host) forwardsAnyway(s store.Sysctl) bool {
	if strings.HasPrefix(s.Path, "net/ipv4/conf/") && strings.HasSuffix(s.Path, "/forwarding") {
		on, _ := h.kernel.ReadSysctl("net/ipv4/ip_forward")
		return on == "1"
	}
	return false
}
