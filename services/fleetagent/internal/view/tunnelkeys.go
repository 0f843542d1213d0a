package view

import (
	"slices"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

// TunnelKeys returns the keys that this host has published.
func (v *View) TunnelKeys() []*fleetv1.TunnelKey { return v.infos[v.host].GetTunnelKeys() }

// HasEncrypted reports whether the fleet has an encrypted network.
func (v *View) HasEncrypted() bool {
	for _, n := range v.networks {
		if n.GetEncrypted() && !n.GetDeleted() {
			return true
		}
	}
	return false
}

// WithoutTunnelKeys returns the names of hosts that have published no key for encrypted networks, and
// of those that have none of the newest generation, sorted.
func (v *View) WithoutTunnelKeys() (lacking, late []string) {
	newest := uint64(0)
	for id := range v.hosts {
		newest = max(newest, newestOf(v.infos[id]))
	}
	for id, h := range v.hosts {
		switch g := newestOf(v.infos[id]); {
		case g == 0:
			lacking = append(lacking, h.GetName())
		case g < newest:
			late = append(late, h.GetName())
		}
	}
	slices.Sort(lacking)
	slices.Sort(late)
	return lacking, late
}

// newestOf returns the newest generation of a host's keys; 0: it has none.
func newestOf(info *fleetv1.HostInfo) (newest uint64) {
	for _, k := range info.GetTunnelKeys() {
		newest = max(newest, k.GetGeneration())
	}
	return newest
}
