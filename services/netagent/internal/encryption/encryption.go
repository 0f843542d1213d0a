// Package encryption makes the encrypted tunnels between this host and the others of its fleet. It
// keeps the keys of the host, follows the decisions of package tunnelkey, and applies them to the
// devices. Private keys are in netagent's state and in the kernel, and nowhere else.
//
// It does not know networks: package overlay says which hosts and blocks need a tunnel.
package encryption

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
	"github.com/fairlead/fairlead/services/netagent/internal/tunnelkey"
	"github.com/fairlead/fairlead/services/netagent/internal/wireguard"
)

// Alias identifies the devices.
const Alias = "fairlead fleet"

// The defaults of Config.
const (
	DefaultPort     = 51820
	DefaultLifetime = 24 * time.Hour
)

// Intervals of Run.
const (
	checkEach   = time.Second
	changeTime  = 2 * time.Minute // in which most changes of keys complete
	lateEach    = 30 * time.Second
	supportEach = time.Minute // between two searches for the kernel's module

	// grace is the time for packets on the way, before their tunnel is removed.
	grace = time.Second
)

// Kernel is the part of the kernel that the tunnels need.
type Kernel interface {
	Supported() error
	Ensure(wireguard.Device) (changes []string, err error)
	Prune(name string, keep []tunnelkey.Key) (changes []string, err error)
	Remove(name, alias string) (changes []string, err error)
	Handshakes(name string) (map[tunnelkey.Key]time.Time, error)
	SyncRoutes(devices []string, want []wireguard.Route) (changes []string, err error)
}

// Store keeps the keys.
type Store interface {
	TunnelKeys() store.TunnelKeys
	PutTunnelKeys(store.TunnelKeys) error
}

// Config holds the dependencies of Tunnels. Zero values select the defaults.
type Config struct {
	Kernel   Kernel
	Store    Store
	Port     uint16 // UDP port of the first device; the second one has the next
	Lifetime time.Duration
	Log      *slog.Logger
	Now      func() time.Time
}

// Host is another host of the fleet.
type Host struct {
	ID      string
	Address netip.Addr
	Keys    []tunnelkey.Public
	Blocks  []netip.Prefix // the addresses that are reached through a tunnel; none: no tunnel
}

// View describes what the tunnels depend on.
type View struct {
	Fleet  string // its ID; empty: the host is in none
	Needed bool   // an encrypted network is set up
	MTU    int
	IPv6   bool
	Hosts  []Host
}

// Tunnels are the encrypted tunnels of this host. It is safe for concurrent use.
type Tunnels struct {
	Config

	mu        sync.Mutex
	sending   map[string]use         // by host
	left      map[tunnelkey.Link]use // tunnels that packets were sent through until recently
	searched  time.Time              // when the kernel's module was looked for
	missing   error                  // why there is none
	lastCheck time.Time              // when Due was true
}

// use is the use of a tunnel to a host.
type use struct {
	generation uint64
	peer       tunnelkey.Key
	since      time.Time // or until, of tunnels that are not used any more
}

// New returns the tunnels. It changes nothing before Sync.
func New(cfg Config) *Tunnels {
	if cfg.Port == 0 {
		cfg.Port = DefaultPort
	}
	if cfg.Lifetime == 0 {
		cfg.Lifetime = DefaultLifetime
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Tunnels{Config: cfg, sending: map[string]use{}, left: map[tunnelkey.Link]use{}}
}

// Run calls due when keys may have to be replaced, or a change of keys can continue, until ctx ends.
func (t *Tunnels) Run(ctx context.Context, due func()) {
	tick := time.NewTicker(checkEach)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if t.isDue() {
				due()
			}
		}
	}
}

// isDue reports whether Sync could do something without a change of the view.
func (t *Tunnels) isDue() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys, now := t.Store.TunnelKeys().Keys, t.Now()
	for _, u := range t.left {
		if now.Sub(u.since) > grace {
			return true
		}
	}
	if len(keys) == 0 || len(keys) == 1 && now.Sub(keys[0].Created) < t.Lifetime {
		return false
	}
	pause := lateEach // a change that is late waits for another host, maybe for long
	if len(keys) > 1 && now.Sub(newest(keys).Created) <= changeTime {
		pause = checkEach
	}
	if now.Sub(t.lastCheck) < pause {
		return false
	}
	t.lastCheck = now
	return true
}

func newest(keys []tunnelkey.Own) (last tunnelkey.Own) {
	for _, k := range keys {
		if k.Generation > last.Generation {
			last = k
		}
	}
	return last
}

// Published returns the keys that other hosts must know. Without WireGuard there are none, also if an earlier kernel
// had it: other hosts must not rely on a tunnel to this one.
func (t *Tunnels) Published() []tunnelkey.Public {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.Store.TunnelKeys().Keys) > 0 {
		_ = t.supported() // published returns nothing
	}
	return t.published()
}

// published returns the keys as far as WireGuard is known to be missing. mu must be held.
func (t *Tunnels) published() (all []tunnelkey.Public) {
	if t.missing != nil {
		return nil
	}
	for _, k := range t.Store.TunnelKeys().Keys {
		if public, err := PublicOf(k.Private); err == nil && !k.Withdrawn {
			all = append(all, tunnelkey.Public{Generation: k.Generation, Key: public, Port: t.portOf(k.Generation)})
		}
	}
	return all
}

func (t *Tunnels) portOf(generation uint64) uint16 {
	return t.Port + uint16(tunnelkey.Slot(generation))
}

// PublicOf returns the public key of a private one.
func PublicOf(private tunnelkey.Key) (tunnelkey.Key, error) {
	k, err := ecdh.X25519().NewPrivateKey(private[:])
	if err != nil {
		return tunnelkey.Key{}, err
	}
	return tunnelkey.Key(k.PublicKey().Bytes()), nil
}

// create creates a key and stores it.
func (t *Tunnels) create(generation uint64, keys store.TunnelKeys) (store.TunnelKeys, error) {
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return keys, err
	}
	keys.Keys = append(slices.Clone(keys.Keys), tunnelkey.Own{Generation: generation, Private: tunnelkey.Key(k.Bytes()),
		Created: t.Now().UTC()})
	t.Log.Info("key of encrypted tunnels created", "generation", generation)
	return keys, t.Store.PutTunnelKeys(keys)
}

// supported returns why the kernel has no WireGuard, or nil. It looks again after a while, since the
// administrator can install the module.
func (t *Tunnels) supported() error {
	if !t.searched.IsZero() && (t.missing == nil || t.Now().Sub(t.searched) < supportEach) {
		return t.missing
	}
	t.searched, t.missing = t.Now(), t.Kernel.Supported()
	return t.missing
}

// unsupported returns the error of a network that cannot be encrypted.
func unsupported(cause error) error {
	return fault.New(fault.Unavailable, "encrypted tunnels", "this host has no WireGuard", fault.WithCause(cause),
		fault.WithHint("load the kernel module: modprobe wireguard"))
}

// Clean removes the devices. The keys stay.
func (t *Tunnels) Clean() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.remove()
}

// remove removes all devices.
func (t *Tunnels) remove() (err error) {
	for _, name := range network.EncryptedDevices() {
		changes, rerr := t.Kernel.Remove(name, Alias)
		t.report(changes)
		err = errors.Join(err, rerr)
	}
	clear(t.sending)
	clear(t.left)
	return err
}

func (t *Tunnels) report(changes []string) {
	if len(changes) > 0 {
		t.Log.Info("encrypted tunnels reconciled", "changes", changes)
	}
}
