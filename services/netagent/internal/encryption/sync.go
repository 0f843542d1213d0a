package encryption

import (
	"errors"
	"maps"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
	"github.com/fairlead/fairlead/services/netagent/internal/tunnelkey"
	"github.com/fairlead/fairlead/services/netagent/internal/wireguard"
)

// Sync makes keys, devices and routes as the view requires, and reports whether the published keys
// have changed. In a fleet the host has a key, even if no network needs it yet, so that other hosts
// know that it can have one.
func (t *Tunnels) Sync(v View) (published bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.published()
	err = t.sync(v)
	return !slices.Equal(before, t.published()), err
}

func (t *Tunnels) sync(v View) error {
	keys := t.Store.TunnelKeys()
	if len(keys.Keys) > 0 && keys.Fleet != v.Fleet { // the host has left the fleet
		if err := errors.Join(t.remove(), t.Store.PutTunnelKeys(store.TunnelKeys{})); err != nil {
			return err
		}
		keys = store.TunnelKeys{}
	}
	if v.Fleet == "" {
		return nil
	}
	if err := t.supported(); err != nil {
		if v.Needed {
			return unsupported(err)
		}
		return nil
	}

	keys.Fleet = v.Fleet
	keys, plan, err := t.decide(keys, v)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "encrypted tunnels", "have no key")
	}
	if !v.Needed {
		if err := t.removeUnused(); err != nil {
			return err
		}
		return t.conclude(keys, plan)
	}
	if err := t.apply(keys, plan, v); err != nil {
		return fault.Wrap(err, fault.Internal, "encrypted tunnels", "cannot be set up")
	}
	return t.conclude(keys, plan)
}

// removeUnused removes the devices of a host without encrypted networks.
func (t *Tunnels) removeUnused() error {
	if len(t.Store.TunnelKeys().Keys) == 0 {
		return nil
	}
	return t.remove()
}

// decide returns what to do, after it has created the keys that are needed.
func (t *Tunnels) decide(keys store.TunnelKeys, v View) (store.TunnelKeys, tunnelkey.Plan, error) {
	for {
		s := t.state(keys.Keys, v)
		plan := s.Next()
		if plan.Create == 0 {
			return keys, plan, nil
		}
		for _, g := range plan.Delete { // its device gets the new key
			keys = without(keys, g)
		}
		var err error
		if keys, err = t.create(plan.Create, keys); err != nil {
			return keys, plan, err
		}
	}
}

func without(keys store.TunnelKeys, generation uint64) store.TunnelKeys {
	keys.Keys = slices.DeleteFunc(slices.Clone(keys.Keys), func(o tunnelkey.Own) bool {
		return o.Generation == generation
	})
	return keys
}

// state returns what a decision depends on. Sessions matter only while keys are replaced.
func (t *Tunnels) state(own []tunnelkey.Own, v View) tunnelkey.State {
	s := tunnelkey.State{Own: own, Sending: map[string]uint64{}, Now: t.Now(), Lifetime: t.Lifetime,
		Connected: map[tunnelkey.Link]bool{}}
	for host, u := range t.sending {
		if s.Now.Sub(u.since) >= grace { // no packets are on the way through the former tunnel
			s.Sending[host] = u.generation
		}
	}
	for _, h := range v.Hosts {
		s.Hosts = append(s.Hosts, tunnelkey.Host{ID: h.ID, Keys: h.Keys, Linked: len(h.Blocks) > 0})
	}
	if len(own) < 2 {
		return s
	}
	for _, o := range own {
		shakes, err := t.Kernel.Handshakes(deviceOf(o.Generation))
		if err != nil {
			t.Log.Warn("sessions of encrypted tunnels unknown", "error", err)
		}
		for _, h := range v.Hosts {
			if k, ok := keyOf(h, o.Generation); ok {
				s.Connected[tunnelkey.Link{Host: h.ID, Generation: o.Generation}] =
					s.Now.Sub(shakes[k.Key]) < wireguard.SessionLife
			}
		}
	}
	return s
}

func deviceOf(generation uint64) string {
	return network.EncryptedDevices()[tunnelkey.Slot(generation)]
}

// keyOf returns the key of a generation that a host has published.
func keyOf(h Host, generation uint64) (tunnelkey.Public, bool) {
	i := slices.IndexFunc(h.Keys, func(k tunnelkey.Public) bool { return k.Generation == generation })
	if i < 0 {
		return tunnelkey.Public{}, false
	}
	return h.Keys[i], true
}

// apply makes devices and routes as planned: new peers first, then routes, and what no route needs
// any more is removed last.
func (t *Tunnels) apply(keys store.TunnelKeys, plan tunnelkey.Plan, v View) (err error) {
	var changes []string
	defer func() { t.report(changes) }()

	peers := map[uint64][]wireguard.Peer{}
	for _, o := range keys.Keys {
		if slices.Contains(plan.Delete, o.Generation) {
			continue
		}
		peers[o.Generation] = peersOf(plan, v, o.Generation)
		done, err := t.Kernel.Ensure(wireguard.Device{Name: deviceOf(o.Generation), Alias: Alias, Private: o.Private,
			Port: t.portOf(o.Generation), MTU: v.MTU, IPv6: v.IPv6, Peers: peers[o.Generation]})
		if changes = append(changes, done...); err != nil {
			return err
		}
	}

	done, err := t.Kernel.SyncRoutes(network.EncryptedDevices(), routesOf(plan, v))
	if changes = append(changes, done...); err != nil {
		return err
	}
	t.note(plan, v)

	used := map[string]bool{}
	for _, o := range keys.Keys {
		all, exists := peers[o.Generation]
		if !exists {
			continue
		}
		keep := t.leaving(o.Generation)
		for _, p := range all {
			keep = append(keep, p.Key)
		}
		used[deviceOf(o.Generation)] = true
		done, perr := t.Kernel.Prune(deviceOf(o.Generation), keep)
		changes, err = append(changes, done...), errors.Join(err, perr)
	}
	for _, name := range network.EncryptedDevices() {
		if !used[name] {
			done, rerr := t.Kernel.Remove(name, Alias)
			changes, err = append(changes, done...), errors.Join(err, rerr)
		}
	}
	return err
}

// note records which tunnels are used from now on.
func (t *Tunnels) note(plan tunnelkey.Plan, v View) {
	now := t.Now()
	for _, h := range v.Hosts {
		old, used := t.sending[h.ID]
		g, uses := plan.Send[h.ID]
		if used == uses && old.generation == g {
			continue
		}
		if used {
			t.left[tunnelkey.Link{Host: h.ID, Generation: old.generation}] = use{old.generation, old.peer, now}
		}
		if delete(t.sending, h.ID); uses {
			k, _ := keyOf(h, g)
			t.sending[h.ID] = use{g, k.Key, now}
		}
	}
	maps.DeleteFunc(t.sending, func(id string, _ use) bool {
		return !slices.ContainsFunc(v.Hosts, func(h Host) bool { return h.ID == id })
	})
}

// leaving returns the peers of a generation with packets on the way, and forgets those without.
func (t *Tunnels) leaving(generation uint64) (keep []tunnelkey.Key) {
	for l, u := range t.left {
		switch {
		case t.Now().Sub(u.since) > grace:
			delete(t.left, l)
		case l.Generation == generation:
			keep = append(keep, u.peer)
		}
	}
	return keep
}

// conclude stores what was decided about the keys.
func (t *Tunnels) conclude(keys store.TunnelKeys, plan tunnelkey.Plan) error {
	if len(plan.Delete)+len(plan.Withdraw) == 0 {
		return nil
	}
	for _, g := range plan.Delete {
		keys = without(keys, g)
		t.Log.Info("key of encrypted tunnels deleted", "generation", g)
	}
	keys.Keys = slices.Clone(keys.Keys)
	for i := range keys.Keys {
		o := &keys.Keys[i]
		o.Withdrawn = o.Withdrawn || slices.Contains(plan.Withdraw, o.Generation)
	}
	return t.Store.PutTunnelKeys(keys)
}

// peersOf returns the tunnels of one generation.
func peersOf(plan tunnelkey.Plan, v View, generation uint64) (all []wireguard.Peer) {
	for _, l := range plan.Links {
		i := slices.IndexFunc(v.Hosts, func(h Host) bool { return h.ID == l.Host })
		if l.Generation != generation || i < 0 {
			continue
		}
		h := v.Hosts[i]
		if k, ok := keyOf(h, generation); ok {
			all = append(all, wireguard.Peer{Key: k.Key, Endpoint: netip.AddrPortFrom(h.Address, k.Port),
				Allowed: h.Blocks})
		}
	}
	return all
}

// routesOf returns the routes to the blocks of all hosts.
func routesOf(plan tunnelkey.Plan, v View) (all []wireguard.Route) {
	for _, h := range v.Hosts {
		if g, ok := plan.Send[h.ID]; ok {
			for _, b := range h.Blocks {
				all = append(all, wireguard.Route{To: b, Device: deviceOf(g)})
			}
		}
	}
	return all
}
