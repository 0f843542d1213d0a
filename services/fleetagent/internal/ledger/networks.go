package ledger

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/space"
)

// occupied holds everything that a new network must not overlap, and the state of the set of networks.
type occupied struct {
	pool     etcd.Condition // the set of networks has not changed
	networks map[string]*fleetv1.OverlayNetwork
	hosts    map[string]*fleetv1.Host
	infos    map[string]*fleetv1.HostInfo
}

// CreateNetwork stores a network. Pools without a subnet get one from the address space. The same
// network with the same ID is returned as it is.
func (l Ledger) CreateNetwork(ctx context.Context, wanted *fleetv1.OverlayNetwork, ipv6 bool) (
	*fleetv1.OverlayNetwork, error) {
	if err := l.Sweep(ctx); err != nil { // subnets of deleted networks
		return nil, err
	}
	for range attempts {
		n := proto.CloneOf(wanted)
		if known, _, err := l.network(ctx, n.GetId()); err == nil {
			return known, sameNetwork(known, n)
		} else if fault.KindOf(err) != fault.NotFound {
			return nil, err
		}
		o, err := l.occupied(ctx)
		if err != nil {
			return nil, err
		}
		if err := l.complete(ctx, n, ipv6, o); err != nil {
			return nil, err
		}

		ok, err := l.commitNetwork(ctx, n, o)
		if err != nil || ok {
			return n, err
		}
		if v, taken, err := l.Store.Get(ctx, l.Keys.NetworkName(n.GetName())); err != nil {
			return nil, err
		} else if taken && string(v.Data) != n.GetId() {
			return nil, nameTaken(n)
		}
	}
	return nil, busy(subject(wanted))
}

func nameTaken(n *fleetv1.OverlayNetwork) error {
	return fault.New(fault.Exists, subject(n), "already exists in the fleet", fault.WithReason(fault.ReasonNameInUse))
}

// sameNetwork returns an error if a network with the same ID is another one.
func sameNetwork(known, wanted *fleetv1.OverlayNetwork) error {
	if known.GetName() != wanted.GetName() || known.GetEncrypted() != wanted.GetEncrypted() ||
		known.GetInternal() != wanted.GetInternal() {
		return fault.New(fault.Exists, "network "+known.GetId(), "exists already, with another configuration")
	}
	return nil
}

// complete checks a network and chooses what it leaves open.
func (l Ledger) complete(ctx context.Context, n *fleetv1.OverlayNetwork, ipv6 bool, o occupied) error {
	n.CreatedAt, n.Deleted = timestamppb.New(l.Now()), false
	for _, other := range o.networks {
		if other.GetName() == n.GetName() && !other.GetDeleted() {
			return nameTaken(n)
		}
	}
	all, err := l.AddressSpace(ctx)
	if err != nil {
		return err
	}
	if err := o.choose(n, all, ipv6); err != nil {
		return err
	}
	if err := check(n); err != nil {
		return err
	}
	if err := errors.Join(o.refuseOverlap(n), o.requireKeys(n)); err != nil {
		return err
	}
	return fitMTU(n, o.hosts, o.infos)
}

func (l Ledger) occupied(ctx context.Context) (o occupied, err error) {
	v, ok, err := l.Store.Get(ctx, l.Keys.Pool())
	if err != nil {
		return o, err
	}
	if o.pool = etcd.Absent(l.Keys.Pool()); ok {
		o.pool = etcd.Unchanged(v.Key, v.Revision)
	}
	if o.networks, _, err = all[fleetv1.OverlayNetwork](ctx, l, l.Keys.Networks()); err != nil {
		return o, err
	}
	if o.hosts, _, err = all[fleetv1.Host](ctx, l, l.Keys.Hosts()); err != nil {
		return o, err
	}
	o.infos, _, err = all[fleetv1.HostInfo](ctx, l, l.Keys.Infos())
	return o, err
}

// choose chooses a subnet for pools without one. Without pools there is an IPv4 one; with ipv6 there is an
// IPv6 one.
func (o occupied) choose(n *fleetv1.OverlayNetwork, all []netip.Prefix, ipv6 bool) error {
	if ipv6 && !slices.ContainsFunc(n.GetPools(), is6) {
		p, err := o.free(all, true)
		if err != nil {
			return err
		}
		n.Pools = append(n.Pools, &fleetv1.OverlayPool{Subnet: p.String()})
	}
	if !slices.ContainsFunc(n.GetPools(), func(p *fleetv1.OverlayPool) bool { return !is6(p) }) {
		n.Pools = append([]*fleetv1.OverlayPool{{}}, n.Pools...)
	}
	for _, p := range n.GetPools() {
		if p.GetSubnet() != "" {
			continue
		}
		s, err := o.free(all, false)
		if err != nil {
			return err
		}
		p.Subnet = s.String()
	}
	return nil
}

// free returns a free subnet of the usual size.
func (o occupied) free(all []netip.Prefix, ipv6 bool) (netip.Prefix, error) {
	var used []netip.Prefix
	for _, u := range o.used() {
		used = append(used, u.prefix)
	}
	size, family := space.Len4, "IPv4"
	if ipv6 {
		size, family = space.Len6, "IPv6"
	}
	for _, s := range all {
		if s.Addr().Is6() != ipv6 {
			continue
		}
		if p, ok := space.Choose(s, size, used); ok {
			return p, nil
		}
		return netip.Prefix{}, fault.New(fault.Exhausted, "address space "+s.String(),
			fmt.Sprintf("has no free subnet of %d bits next to %d networks and the routes of %d hosts%s", size,
				len(o.networks), len(o.infos), o.covering(s)), fault.WithHint("use --subnet"))
	}
	return netip.Prefix{}, fault.New(fault.Exhausted, "address space of the fleet", "has no "+family+" part",
		fault.WithHint("use --subnet"))
}

// requireKeys refuses an encrypted network if a host has no key for it.
func (o occupied) requireKeys(n *fleetv1.OverlayNetwork) error {
	if !n.GetEncrypted() {
		return nil
	}
	var lacking []string
	for id, h := range o.hosts {
		if len(o.infos[id].GetTunnelKeys()) == 0 {
			lacking = append(lacking, h.GetName())
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	slices.Sort(lacking)
	return fault.New(fault.Conflict, subject(n), "cannot be encrypted: hosts without WireGuard: "+
		strings.Join(lacking, ", "), fault.WithField("options"),
		fault.WithHint("load the kernel module there (modprobe wireguard), or create the network without -o encrypted"))
}

// covering names a route that covers a whole address space.
func (o occupied) covering(s netip.Prefix) string {
	for _, u := range o.used() {
		if u.prefix.Bits() <= s.Bits() && u.prefix.Contains(s.Addr()) {
			return ": " + u.what + " covers all of it"
		}
	}
	return ""
}

// use is a prefix that is in use.
type use struct {
	prefix netip.Prefix
	what   string
}

// used returns all prefixes in use: of networks, deleted ones included, and of hosts.
func (o occupied) used() []use {
	var found []use
	for _, n := range o.networks {
		for _, pool := range n.GetPools() {
			if p, err := netip.ParsePrefix(pool.GetSubnet()); err == nil {
				what := "network " + n.GetName()
				if n.GetDeleted() {
					what = "the deleted network " + n.GetName() + ", which some hosts still have"
				}
				found = append(found, use{p, what + " (" + p.String() + ")"})
			}
		}
	}
	for id, info := range o.infos {
		name := id
		if h := o.hosts[id]; h != nil {
			name = h.GetName()
		}
		for _, text := range info.GetRoutes() {
			if p, err := netip.ParsePrefix(text); err == nil {
				found = append(found, use{p.Masked(), "the route " + text + " of host " + name})
			}
		}
	}
	slices.SortFunc(found, func(a, b use) int { return strings.Compare(a.what, b.what) })
	return found
}

// refuseOverlap returns an error if a subnet of a network is in use.
func (o occupied) refuseOverlap(n *fleetv1.OverlayNetwork) error {
	for _, pool := range n.GetPools() {
		p, err := netip.ParsePrefix(pool.GetSubnet())
		if err != nil {
			return err
		}
		for _, u := range o.used() {
			if u.prefix.Overlaps(p) {
				return fault.New(fault.Conflict, subject(n), fmt.Sprintf("subnet %s overlaps %s", p, u.what),
					fault.WithHint("use another --subnet"))
			}
		}
	}
	return nil
}

func (l Ledger) commitNetwork(ctx context.Context, n *fleetv1.OverlayNetwork, o occupied) (bool, error) {
	store, err := put(l.Keys.Network(n.GetId()), n)
	if err != nil {
		return false, err
	}
	name := l.Keys.NetworkName(n.GetName())
	return l.Store.Commit(ctx, []etcd.Condition{o.pool, etcd.Absent(name), etcd.Absent(l.Keys.Network(n.GetId()))},
		store, etcd.Put(name, []byte(n.GetId())), etcd.Put(l.Keys.Pool(), []byte(n.GetId())))
}

// UpdateNetwork changes what can be changed of a network.
func (l Ledger) UpdateNetwork(ctx context.Context, r *fleetv1.UpdateNetworkRequest) (*fleetv1.OverlayNetwork, error) {
	for range attempts {
		n, v, err := l.network(ctx, r.GetNetworkId())
		if err != nil {
			return nil, err
		}
		o, err := l.occupied(ctx)
		if err != nil {
			return nil, err
		}
		if err := change(n, r, o); err != nil {
			return nil, err
		}

		store, err := put(v.Key, n)
		if err != nil {
			return nil, err
		}
		ok, err := l.Store.Commit(ctx, []etcd.Condition{etcd.Unchanged(v.Key, v.Revision)}, store,
			etcd.Put(l.Keys.Pool(), []byte(n.GetId())))
		if err != nil || ok {
			return n, err
		}
	}
	return nil, busy("network " + r.GetNetworkId())
}

// change applies a request to a network.
func change(n *fleetv1.OverlayNetwork, r *fleetv1.UpdateNetworkRequest, o occupied) error {
	if r.Mtu != nil {
		n.Mtu = r.GetMtu()
		if err := fitMTU(n, o.hosts, o.infos); err != nil {
			return err
		}
	}
	if r.GetSetDns() {
		n.Dns = r.GetDns()
	}
	for key, value := range r.GetLabels() {
		if n.Labels == nil {
			n.Labels = map[string]string{}
		}
		if n.Labels[key] = value; value == "" {
			delete(n.Labels, key)
		}
	}
	return check(n)
}

// RemoveNetwork deletes a network. Its record stays until no host has the network.
func (l Ledger) RemoveNetwork(ctx context.Context, id string) error {
	for range attempts {
		n, v, err := l.network(ctx, id)
		if fault.KindOf(err) == fault.NotFound {
			return nil
		}
		if err != nil {
			return err
		}
		n.Deleted = true
		store, err := put(v.Key, n)
		if err != nil {
			return err
		}
		ok, err := l.Store.Commit(ctx, []etcd.Condition{etcd.Unchanged(v.Key, v.Revision)}, store,
			etcd.Delete(l.Keys.NetworkName(n.GetName())), etcd.Put(l.Keys.Pool(), []byte(id)))
		if err != nil {
			return err
		}
		if ok {
			return l.Sweep(ctx)
		}
	}
	return busy("network " + id)
}
