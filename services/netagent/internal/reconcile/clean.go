package reconcile

import (
	"errors"
	"io/fs"
	"strings"
	"sync"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// Clean takes all networks off the host, with what their sandboxes are plugged in by, and puts back what was changed of the host. They
// stay in the store; leaving is told of each.
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
		if gone := driver.Delete(n.Network); gone != nil { // a network that is not there cannot be swept, which is as well
			errs = append(errs, err, gone)
		}
		r.log.Info("network taken off the host", "network", n.Name, "bridge", n.Bridge)
	}
	return errors.Join(append(errs, r.restoreSysctls(func(store.Sysctl) bool { return true }))...)
}

// restoreSysctls gives some of the host's parameters the values again that they had. What somebody else has changed meanwhile is left as that one wants
// it, and so is forwarding on single interfaces of a host that forwards altogether by now.
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
		r.log.Info("host parameters put back", "changes", changes)
	}
	if err != nil {
		return err
	}
	return r.store.ForgetSysctls(paths)
}

// ofForwarding tells whether a parameter was changed for forwarding's sake.
func ofForwarding(s store.Sysctl) bool {
	return strings.HasSuffix(s.Path, "forwarding") || strings.HasSuffix(s.Path, "/accept_ra")
}

// forwardsAnyway tells whether a parameter lets one interface forward, of a host that does so on all.
func (r *Reconciler) forwardsAnyway(s store.Sysctl) bool {
	if strings.HasPrefix(s.Path, "net/ipv4/conf/") && strings.HasSuffix(s.Path, "/forwarding") {
		on, _ := r.host.ReadSysctl("net/ipv4/ip_forward")
		return on == "1"
	}
	return false
}
