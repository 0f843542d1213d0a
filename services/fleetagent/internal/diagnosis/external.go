package diagnosis

import (
	"context"
	"fmt"
	"strings"
	"time"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/external"
)

// expiresSoon is the life of the client certificate below which it is to be replaced.
const expiresSoon = 14 * 24 * time.Hour

// checkExternal checks the external store: on a manager its servers, on a member the managers that pass calls on.
func (d *doctor) checkExternal(ctx context.Context) {
	if !d.Self.IsManager() {
		d.checkPassing(ctx)
		return
	}
	d.checkCredentials()
	states, err := d.External(ctx)
	if err != nil {
		d.add("store", "servers", problem, err.Error(), "")
		return
	}
	for _, s := range states {
		d.checkServer(s, states)
	}
}

// checkServer checks one server.
func (d *doctor) checkServer(s external.State, all []external.State) {
	old := etcd.CheckVersion(s.Version)
	switch {
	case s.Err != nil:
		d.add("store", s.URL, problem, s.Err.Error(), "")
	case old != nil:
		d.add("store", s.URL, problem, old.Error(), "")
	case len(s.Problems) > 0:
		d.add("store", s.URL, problem, fmt.Sprintf("%s: %s", s, strings.Join(s.Problems, ", ")),
			"see etcdctl alarm list; free space: etcdctl compact, defrag and alarm disarm")
	case s.Leader == 0:
		d.add("store", s.URL, problem, s.String()+", has no leader", "start the other members of its cluster")
	case s.Cluster != clusterOf(all):
		d.add("store", s.URL, problem, "is of another cluster than the other servers", "")
	case s.Quota > 0 && float64(s.Size) > fullStore*float64(s.Quota):
		d.add("store", s.URL, note, fmt.Sprintf("%s, nearly full", s.Status), "")
	default:
		d.add("store", s.URL, fine, s.String(), "")
	}
}

// clusterOf returns the cluster of the first server that answers.
func clusterOf(all []external.State) uint64 {
	for _, s := range all {
		if s.Err == nil {
			return s.Cluster
		}
	}
	return 0
}

// checkCredentials checks how long the client certificate is valid.
func (d *doctor) checkCredentials() {
	expires, err := d.Self.External.Expires()
	if err != nil {
		d.add("store", "certificate", problem, err.Error(), renewHint)
		return
	}
	left := expires.Sub(d.Now())
	switch {
	case left <= 0:
		d.add("store", "certificate", problem, "expired "+expires.Format(time.DateTime), renewHint)
	case left < expiresSoon:
		d.add("store", "certificate", note, "expires "+expires.Format(time.DateTime), renewHint)
	default:
		d.add("store", "certificate", fine, "expires "+expires.Format(time.DateTime), "")
	}
}

const renewHint = "fairlead fleet update --store-cert FILE --store-key FILE"

// checkPassing checks whether the managers pass calls on to the store.
func (d *doctor) checkPassing(ctx context.Context) {
	for _, h := range d.Hosts {
		if h.GetRole() != fleetv1.HostRole_HOST_ROLE_MANAGER {
			continue
		}
		s, err := d.Store.Status(ctx, storeURL(h, d.Ports.StoreClient))
		if err != nil {
			d.add("store", "through "+h.GetName(), problem, err.Error(), Opening(d.Ports.StoreClient, "that host"))
			continue
		}
		d.add("store", "through "+h.GetName(), fine, s.String(), "")
	}
}
