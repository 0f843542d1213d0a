package bringup

import (
	"errors"
	"sync"
)

// Clean deletes all networks from the host, with their endpoints, and restores the changed sysctls.
// The networks stay in the store. It calls leaving with the ID of each.
func (r *Controller) Clean(leaving func(networkID string)) error {
	var errs []error
	links := sync.OnceValues(r.host.Links)
	for _, n := range r.store.Networks() {
		d, ok := r.drivers[n.Driver]
		if !ok {
			continue
		}
		leaving(n.ID)
		_, err := d.Sweep(n.Network, nil, links)
		if gone := d.DeleteNetwork(n.Network); gone != nil { // a missing network cannot be swept
			errs = append(errs, err, gone)
		}
		r.log.Info("network removed from the host", "network", n.Name, "bridge", n.Bridge().Device)
	}

	return errors.Join(append(errs, r.hostnet.Restore())...)
}
