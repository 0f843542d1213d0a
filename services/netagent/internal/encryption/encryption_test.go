package encryption

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
	"github.com/fairlead/fairlead/services/netagent/internal/tunnelkey"
	"github.com/fairlead/fairlead/services/netagent/internal/wireguard"
)

// machine is a host: its kernel, its state and its clock.
type machine struct {
	*Tunnels
	now     time.Time
	keys    store.TunnelKeys
	calls   []string
	lacks   error // WireGuard
	fails   string
	devices map[string]wireguard.Device
	shakes  map[tunnelkey.Key]time.Time
}

func newMachine() *machine {
	m := &machine{now: time.Unix(1_800_000_000, 0), devices: map[string]wireguard.Device{},
		shakes: map[tunnelkey.Key]time.Time{}}
	m.Tunnels = New(Config{Kernel: m, Store: m, Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return m.now }})
	return m
}

func (m *machine) TunnelKeys() store.TunnelKeys { return m.keys }

func (m *machine) PutTunnelKeys(k store.TunnelKeys) error {
	m.keys = k
	return m.call("store")
}

func (m *machine) call(words ...string) error {
	m.calls = append(m.calls, strings.Join(words, " "))
	if m.fails == words[0] {
		return errors.New("boom")
	}
	return nil
}

// take returns the calls since the last time.
func (m *machine) take() string {
	text := strings.Join(m.calls, "; ")
	m.calls = nil
	return text
}

func (m *machine) Supported() error { return m.lacks }

func (m *machine) Ensure(d wireguard.Device) ([]string, error) {
	m.devices[d.Name] = d
	return nil, m.call("ensure", d.Name, fmt.Sprint(len(d.Peers)))
}

func (m *machine) Prune(name string, keep []tunnelkey.Key) ([]string, error) {
	return nil, m.call("prune", name, fmt.Sprint(len(keep)))
}

func (m *machine) Remove(name, _ string) ([]string, error) {
	if _, ok := m.devices[name]; !ok {
		return nil, nil
	}
	delete(m.devices, name)
	return nil, m.call("remove", name)
}

func (m *machine) Handshakes(string) (map[tunnelkey.Key]time.Time, error) { return m.shakes, nil }

func (m *machine) SyncRoutes(_ []string, want []wireguard.Route) ([]string, error) {
	words := []string{"routes"}
	for _, r := range want {
		words = append(words, r.Device)
	}
	return nil, m.call(words...)
}

// key returns the public key of host b.
func key(generation uint64) tunnelkey.Public {
	return tunnelkey.Public{Generation: generation, Key: tunnelkey.Key{byte(generation)}, Port: 51820}
}

// with returns a view in which b has keys, and a network is encrypted if it has blocks.
func with(blocks string, keys ...tunnelkey.Public) View {
	v := View{Fleet: "f", MTU: 1440, Hosts: []Host{{ID: "b", Address: netip.MustParseAddr("10.99.0.2"), Keys: keys}}}
	for _, b := range strings.Fields(blocks) {
		v.Needed = true
		v.Hosts[0].Blocks = append(v.Hosts[0].Blocks, netip.MustParsePrefix(b))
	}
	return v
}

const block = "10.128.1.0/26"

// sync applies a view and compares the calls.
func (m *machine) sync(t *testing.T, v View, want string) {
	t.Helper()
	if _, err := m.Sync(v); err != nil {
		t.Errorf("sync: %v", err)
	}
	if got := m.take(); got != want {
		t.Errorf("calls: got %q, want %q", got, want)
	}
}

func (m *machine) expectPublished(t *testing.T, want ...uint64) {
	t.Helper()
	var got []uint64
	for _, k := range m.Published() {
		got = append(got, k.Generation)
	}
	if !slices.Equal(got, want) {
		t.Errorf("published: got %v, want %v", got, want)
	}
}

func TestKeyExistsBeforeItIsNeeded(t *testing.T) {
	m := newMachine()
	m.sync(t, View{}, "")
	if changed, err := m.Sync(with("")); err != nil || !changed {
		t.Errorf("first: keys changed is %t, %v", changed, err)
	}
	if changed, err := m.Sync(with("")); err != nil || changed || m.take() != "store" {
		t.Errorf("second: keys changed is %t, %v", changed, err)
	}
	m.expectPublished(t, 1)
	if k := m.Published()[0]; k.Port != DefaultPort+1 || k.Key == m.keys.Keys[0].Private {
		t.Errorf("got %+v", k)
	}
	m.sync(t, with(block, key(1)), "ensure fairlead-wg1 1; routes fairlead-wg1; prune fairlead-wg1 1")
	d := m.devices["fairlead-wg1"]
	if d.Port != DefaultPort+1 || d.MTU != 1440 || d.Private != m.keys.Keys[0].Private ||
		d.Peers[0].Endpoint.String() != "10.99.0.2:51820" {
		t.Errorf("got %+v", d)
	}
	m.sync(t, with("", key(1)), "remove fairlead-wg1")
	m.sync(t, View{}, "store")
	m.expectPublished(t)
}

func TestOtherFleetGetsOtherKeys(t *testing.T) {
	m := newMachine()
	m.sync(t, with(block), "store; ensure fairlead-wg1 0; routes; prune fairlead-wg1 0")
	first := m.Published()[0].Key
	v := with("", key(4))
	v.Fleet = "g"
	m.sync(t, v, "remove fairlead-wg1; store; store")
	m.expectPublished(t, 4)
	if m.Published()[0].Key == first || m.keys.Fleet != "g" {
		t.Error("the key is known in another fleet")
	}
}

func TestWithoutWireGuardOnlyEncryptedNetworksFail(t *testing.T) {
	m := newMachine()
	m.lacks = errors.New("no module")
	m.sync(t, with(""), "")
	m.expectPublished(t)
	_, err := m.Sync(with(block, key(1)))
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "this host has no WireGuard") {
		t.Errorf("got %v", err)
	}
	m.lacks = nil
	if _, err := m.Sync(with(block, key(1))); err == nil {
		t.Error("looked for the module again immediately")
	}
	m.now = m.now.Add(supportEach)
	m.sync(t, with(block, key(1)), "store; ensure fairlead-wg1 1; routes fairlead-wg1; prune fairlead-wg1 1")
}

func TestKeysAreWithdrawnWithoutWireGuard(t *testing.T) {
	m := newMachine()
	m.sync(t, with(""), "store")
	m.expectPublished(t, 1)
	keys := m.keys

	m = newMachine() // the host has booted another kernel
	m.keys, m.lacks = keys, errors.New("no module")
	m.expectPublished(t)
	m.sync(t, with(""), "")
	m.expectPublished(t)
	if len(m.keys.Keys) != 1 {
		t.Errorf("stored keys: got %d, want 1", len(m.keys.Keys))
	}

	m.lacks, m.now = nil, m.now.Add(supportEach)
	if changed, err := m.Sync(with("")); err != nil || !changed {
		t.Errorf("with the module again: keys changed is %t, %v", changed, err)
	}
	m.expectPublished(t, 1)
}

func TestKeysReplacedInOrder(t *testing.T) {
	m := newMachine()
	m.sync(t, with(block, key(1)), "store; ensure fairlead-wg1 1; routes fairlead-wg1; prune fairlead-wg1 1")
	if m.isDue() {
		t.Error("due with a new key")
	}
	m.now = m.now.Add(DefaultLifetime)
	if !m.isDue() || m.isDue() {
		t.Error("must be due, and then pause")
	}
	m.shakes[key(1).Key] = m.now
	const both = "ensure fairlead-wg1 1; ensure fairlead-wg0 "
	m.sync(t, with(block, key(1)), "store; "+both+"0; routes fairlead-wg1; prune fairlead-wg1 1; prune fairlead-wg0 0")
	m.expectPublished(t, 1, 2)
	m.sync(t, with(block, key(1), key(2)), both+"1; routes fairlead-wg1; prune fairlead-wg1 1; prune fairlead-wg0 1")
	m.now = m.now.Add(2 * time.Second)
	if !m.isDue() {
		t.Error("must be due while keys are replaced")
	}
	m.shakes[key(2).Key] = m.now
	const used = both + "1; routes fairlead-wg0; prune fairlead-wg1 "
	m.sync(t, with(block, key(1), key(2)), used+"2; prune fairlead-wg0 1")
	m.sync(t, with(block, key(1), key(2)), used+"2; prune fairlead-wg0 1") // packets are on the way
	m.expectPublished(t, 1, 2)
	m.now = m.now.Add(2 * grace)
	m.sync(t, with(block, key(1), key(2)), used+"1; prune fairlead-wg0 1; store")
	m.expectPublished(t, 2)
	const new = "ensure fairlead-wg0 1; routes fairlead-wg0; prune fairlead-wg0 1"
	m.sync(t, with(block, key(2)), new+"; remove fairlead-wg1; store")
	m.sync(t, with(block, key(2)), new)
}

// TestPeerKeptWhilePacketsAreOnTheWay withdraws the key of a host at the moment at which this host
// starts to use the newer one.
func TestPeerKeptWhilePacketsAreOnTheWay(t *testing.T) {
	m := newMachine()
	m.sync(t, with(block, key(1)), "store; ensure fairlead-wg1 1; routes fairlead-wg1; prune fairlead-wg1 1")
	m.sync(t, with(block, key(2)), "store; ensure fairlead-wg1 0; ensure fairlead-wg0 1; routes fairlead-wg0; "+
		"prune fairlead-wg1 1; prune fairlead-wg0 1")
	m.now = m.now.Add(2 * grace)
	m.sync(t, with(block, key(2)), "ensure fairlead-wg1 0; ensure fairlead-wg0 1; routes fairlead-wg0; "+
		"prune fairlead-wg1 0; prune fairlead-wg0 1; store")
}

func TestLateChangeOfKeysIsPolledSlowly(t *testing.T) {
	m := newMachine()
	m.sync(t, with("", key(1)), "store")
	m.now = m.now.Add(DefaultLifetime)
	m.sync(t, with("", key(1)), "store")
	m.now = m.now.Add(time.Hour)
	due := 0
	for range 60 {
		if m.now = m.now.Add(time.Second); m.isDue() {
			due++
		}
	}
	if due != 2 {
		t.Errorf("due %d times in a minute, want 2", due)
	}
}

func TestFailuresKeepKeysAndRoutes(t *testing.T) {
	m := newMachine()
	m.sync(t, with(block, key(1)), "store; ensure fairlead-wg1 1; routes fairlead-wg1; prune fairlead-wg1 1")
	for fails, want := range map[string]string{"ensure": "ensure fairlead-wg1 1",
		"routes": "ensure fairlead-wg1 1; routes fairlead-wg1"} {
		m.fails = fails
		if _, err := m.Sync(with(block, key(1))); err == nil || m.take() != want {
			t.Errorf("%s: got %v", fails, err)
		}
		m.expectPublished(t, 1)
	}
	m.fails = "remove"
	if err := m.Clean(); err == nil {
		t.Error("Clean: got no error")
	}
}
