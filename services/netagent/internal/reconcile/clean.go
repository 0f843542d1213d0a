package reconcile

import (
	"errors"
	"io/fs"
	"strings"
	"sync"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// Clean deletes all networks from the host, with their endpoints, and restores the changed sysctls.
// The networks stay in the store. It calls leaving with the ID of each.
func (r *Reconciler) Clean(leaving func(networkID string)) error {
	var errs []error
	links := sync.OnceValues(r.host.Links)
	for _, n := range r.store.Networks() {
		driver, ok := r.drivers[n.Driver]
		if !ok {
			continue
		}
		leaving(n.ID)
		_, err := driver.Restore(n.Network, nil, links)
		if gone := driver.Delete(n.Network); gone != nil { // a missing network cannot be swept
			errs = append(errs, err, gone)
		}
		r.log.Info("network removed from the host", "network", n.Name, "bridge", n.Bridge().Device)
	}

	return errors.Join(append(errs, r.restoreSysctls(func(store.Sysctl) bool { return true }))...)
}

// restoreSysctls restores the selected host sysctls. It skips those that another program has
// changed in the meantime, and forwarding of single interfaces if the whole host forwards.
func (r *Reconciler) restoreSysctls(which func(store.Sysctl) bool) error {
	var todo []kernel.Sysctl
	var paths []string
	for _, s := range r.store.Sysctls() {
		if !which(s) {
			continue
		}
		paths = append(paths, s.Path)
		now, err := r.host.ReadSysctl(s.Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // its interface is gone
		}
		if err != nil {
			return err
		}
		if now == s.Current && !r.forwardsAnyway(s) {
			todo = append(todo, kernel.Sysctl{Path: s.Path, Value: s.Original})
		}
	}

	changes, err := r.host.ApplySysctls(todo)
	if len(changes) > 0 {
		r.log.Info("sysctls restored", "changes", changes)
	}
	if err != nil {
		return err
	}

	return r.store.ForgetSysctls(paths)
}

// ofForwarding reports whether a sysctl was changed to enable forwarding.
func ofForwarding(s store.Sysctl) bool {
	return strings.HasSuffix(s.Path, "forwarding") || strings.HasSuffix(s.Path, "/accept_ra")
}

// forwardsAnyway reports whether a sysctl enables forwarding on one interface while the whole host
// forwards.
func (r *Reconciler) forwardsAnyway(s store.Sysctl) bool {
	if strings.HasPrefix(s.Path, "net/ipv4/conf/") && strings.HasSuffix(s.Path, "/forwarding") {
		on, _ := r.host.ReadSysctl("net/ipv4/ip_forward")
		return on == "1"
	}
	return false
}
