package sandbox_test

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/address"
	"github.com/fairlead/fairlead/services/netagent/internal/attach"
	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/driver/drivertest"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/leases"
	"github.com/fairlead/fairlead/services/netagent/internal/lock"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace/namespacetest"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/sandbox"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// world is a sandbox manager with namespaces in memory and a real store, whose process can exit at any
// step.
type world struct {
	t   *rapid.T
	ctx context.Context
	dir string

	namespaces namespacetest.Keeper // of the kernel, which survives the process

	store   *store.Store
	book    *ipam.Allocator
	manager *sandbox.Manager
	attach  *attach.Syncer
	steps   *steps
	ids     map[string]string // network name to ID

	dieAt    int // step at which the process exits; 0: never
	failAt   int // step that fails
	starts   int
	promised map[string][]claim // addresses that were returned to owners
	reserved map[string][]claim
}

var (
	errDead   = errors.New("process exited")
	errFailed = errors.New("kernel failure")
)

func newWorld(root string, rt *rapid.T) *world {
	dir, err := os.MkdirTemp(root, "w")
	if err != nil {
		rt.Fatal(err)
	}

	w := &world{t: rt, ctx: context.Background(), dir: dir, ids: map[string]string{},
		promised: map[string][]claim{}, reserved: map[string][]claim{}}
	w.start("")
	for _, name := range []string{"a", "b"} {
		n := network.Network{ID: id.New(), Name: name, Driver: network.DriverBridge,
			Spec: network.Spec{Internal: true, Pools: []network.Pool{{Subnet: netip.MustParsePrefix("10.0.0.0/30"),
				Gateway: netip.MustParseAddr("10.0.0.1")}}, Bridge: &network.Bridge{Device: "br" + name}}}
		w.ids[name] = n.ID
		if err := w.store.AddNetwork(store.Network{Network: n}); err != nil {
			rt.Fatal(err)
		}
	}

	return w
}

// roots returns a directory for stores, in memory if possible.
func roots(t *testing.T) string {
	if dir, err := os.MkdirTemp("/dev/shm", "fairlead"); err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		return dir
	}
	return t.TempDir()
}

// start starts a process with the store file of the previous one.
func (w *world) start(file string) {
	w.starts++
	data := filepath.Join(w.dir, strings.Repeat("i", w.starts))
	err := os.Mkdir(data, 0o700)
	if file != "" && err == nil {
		err = os.Rename(file, filepath.Join(data, "net.db"))
	}
	if err == nil {
		w.store, err = store.Open(data)
	}
	if err != nil {
		w.t.Fatal(err)
	}

	w.book = ipam.NewAllocator(time.Now)
	w.steps = &steps{}
	w.manager, w.attach = newManager(w.store, w.book, driver.Set{network.DriverBridge: w.steps}, nil, &w.namespaces,
		sandbox.Config{Bringup: w.steps, Dir: w.pins(), Source: growth{w}})
	if _, err := w.manager.Recover(); err != nil {
		w.t.Fatal(err)
	}

	w.manager.AcceptRequests()
}

func (w *world) pins() string { return filepath.Join(w.dir, "pins") }

// file copies the store file in its current state, as an exit leaves it.
func (w *world) file() string {
	files, err := filepath.Glob(filepath.Join(w.dir, strings.Repeat("i", w.starts), "*.db"))
	if err != nil || len(files) != 1 {
		w.t.Fatal(files, err)
	}

	data, err := os.ReadFile(files[0])
	path := filepath.Join(w.dir, "copy.db")
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}

	return path
}

// crash restarts the process between two operations.
func (w *world) crash() {
	file := w.file()
	w.close()
	w.start(file)
}

func (w *world) close() {
	if err := w.store.Close(); err != nil {
		w.t.Fatal(err)
	}
}

// do runs an operation of an owner. Its result is recorded if it succeeds. If the process exits,
// the state of the owner is undefined.
func (w *world) do(owner string, operation func() error, done func()) {
	w.steps.left, w.steps.failIn, w.dieAt, w.failAt = w.dieAt, w.failAt, 0, 0
	var file string
	w.steps.die = func() { file = w.file() }
	err := w.survive(operation)
	w.dieAt, w.failAt = max(w.steps.left, 0), max(w.steps.failIn, 0)
	switch {
	case file != "":
		w.doubt(owner)
		w.close()
		w.start(file)
	case err == nil:
		done()
	case errors.Is(err, errFailed): // the removal may be partial
		w.doubt(owner)
	case !expected(err):
		w.t.Fatal(err)
	}
}

// doubt drops the expectations for an owner.
func (w *world) doubt(owner string) {
	delete(w.promised, owner)
	delete(w.reserved, owner)
}

// survive recovers from the exit of the simulated process.
func (w *world) survive(operation func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			if err, _ = r.(error); !errors.Is(err, errDead) {
				panic(r)
			}
		}
	}()
	return operation()
}

func (w *world) owner(t *rapid.T) string {
	return strings.Repeat(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "owner"), 64)
}

// connected draws an owner that has a sandbox.
func (w *world) connected(t *rapid.T) string {
	some := slices.Sorted(maps.Keys(w.promised))
	if len(some) == 0 {
		t.Skip("no owner has a sandbox")
	}
	return rapid.SampledFrom(some).Draw(t, "owner")
}

func (w *world) promise(owner string, sb endpoint.Sandbox) { w.promised[owner] = claims(sb) }

func (w *world) end() {
	w.close()
	defer func() { _ = os.RemoveAll(w.dir) }()
}

// steps is a driver and natagent client without effect that can end the process.
type steps struct {
	drivertest.Fake
	left   int // steps until the process exits; 0: never
	failIn int
	dead   bool
	die    func()
}

func (s *steps) step() error {
	if s.dead {
		return errDead
	}
	if s.left--; s.left == 0 {
		s.dead = true
		s.die()
		return errDead
	}
	if s.failIn--; s.failIn == 0 {
		return errFailed
	}
	return nil
}

func (s *steps) Require(context.Context, store.Network) error { return s.step() }

func (s *steps) Complete(n network.Network, e endpoint.Endpoint) endpoint.Endpoint {
	if s.left == 1 {
		panic(s.step())
	}
	s.left--
	e.Bridge = n.Bridge().Device
	return e
}

// Attach runs in a thread of the namespace, where it must not panic. Its error has the same effect:
// the caller undoes only what the process would not have pinned.
func (s *steps) Attach(*kernel.Namespace, network.Network, string, endpoint.Endpoint) error {
	return s.step()
}

func (s *steps) Detach(network.Network, endpoint.Sandbox, endpoint.Endpoint) error {
	if s.dead { // an exited process does not roll back
		return nil
	}
	err := s.step()
	if s.dead {
		panic(err)
	}
	return err
}

// Remove can run in a thread of the namespace, where it must not panic, as for Attach.
func (s *steps) Remove(network.Network, endpoint.Sandbox, endpoint.Endpoint) error {
	if s.dead {
		return nil
	}
	return s.step()
}

// newManager creates a manager and what it calls.
func newManager(
	s *store.Store, allocator *ipam.Allocator, drivers driver.Set, lan driver.Leaser, keeper namespace.Keeper,
	cfg sandbox.Config,
) (*sandbox.Manager, *attach.Syncer) {
	locks := lock.NewChecked()
	cfg.Store, cfg.Drivers, cfg.Locks, cfg.Namespaces = s, drivers, locks, keeper
	cfg.Addresses = address.New(s, allocator, nil)
	cfg.Attach = attach.New(attach.Config{Store: s, Drivers: drivers, Locks: locks, Namespaces: keeper})
	cfg.Leases = leases.New(leases.Config{Store: s, LAN: lan, Attach: cfg.Attach, Locks: locks, Namespaces: keeper})
	return sandbox.New(cfg), cfg.Attach
}
