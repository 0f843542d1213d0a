// Package fleet holds this host's part in a fleet: founding, joining and leaving it, and what goes on
// in between: the presence of the host, the list of the other hosts, the renewal of certificates,
// and on managers the store's process and the listener for hosts.
//
// A host without a fleet has none of this. The package is used by the root package of fleetagent.
package fleet

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/version"
	"github.com/fairlead/fairlead/services/fleetagent/internal/api"
	"github.com/fairlead/fairlead/services/fleetagent/internal/membership"
	"github.com/fairlead/fairlead/services/fleetagent/internal/storeproc"
)

// Config configures the part of a host.
type Config struct {
	Dir          string // of the membership
	StoreDir     string // of the store's database
	ReplicaDir   string // of the copy of the store
	StoreProgram string // path of fairlead-store
	Ports        Ports
	Lease        time.Duration // how long the host counts as alive after its last renewal
	Quarantine   time.Duration // until released addresses are used again
	Idle         time.Duration // until empty blocks are returned
	Log          *slog.Logger
	Now          func() time.Time
	Events       *events.Broker
	Accept       api.Accept // handles the calls of managers

	Firewall natv1.FirewallServiceClient // reads the host firewall; nil: it is not checked
}

// Ports are the TCP ports on the host's fleet address.
type Ports struct{ Agent, StoreClient, StorePeer uint16 }

// Fleet is this host's part in a fleet. It is safe for concurrent use.
type Fleet struct {
	cfg Config

	change sync.Mutex // held by Init, Join and Leave, and by Run at its start

	mu      sync.Mutex
	part    *part           // nil: the host has no fleet
	base    context.Context // of Run; parts run below it
	changed chan struct{}   // closed when part changes

	watchers atomic.Int32 // services that follow the overlay
}

// New returns the part of this host as it is stored. Run starts it.
func New(cfg Config) *Fleet { return &Fleet{cfg: cfg, changed: make(chan struct{})} }

// Run runs the part until ctx ends. ready is called when a stored membership has been read; it does
// not wait for other hosts.
func (f *Fleet) Run(ctx context.Context, ready func()) error {
	f.change.Lock()
	f.mu.Lock()
	f.base = ctx
	f.mu.Unlock()
	m, err := membership.Load(f.cfg.Dir)
	if err == nil && m != nil {
		err = f.begin(m, false)
	}
	f.change.Unlock()
	if err != nil {
		return err
	}
	ready()
	<-ctx.Done()
	f.end()
	return nil
}

// begin starts the part of a membership. A new one needs its listener.
func (f *Fleet) begin(m *membership.Membership, fresh bool) error {
	f.mu.Lock()
	base := f.base
	f.mu.Unlock()
	if base == nil {
		return fault.New(fault.Unavailable, "fleet", "is not running yet")
	}
	p, err := newPart(f.cfg, m)
	if err != nil {
		return err
	}
	if err := p.start(base, fresh); err != nil {
		return err
	}
	f.set(p)
	return nil
}

// set sets the part and returns the former one.
func (f *Fleet) set(p *part) *part {
	f.mu.Lock()
	defer f.mu.Unlock()
	former := f.part
	f.part = p
	close(f.changed)
	f.changed = make(chan struct{})
	return former
}

// end stops the part, which stays stored.
func (f *Fleet) end() {
	if p := f.set(nil); p != nil {
		p.stop()
	}
}

func (f *Fleet) current() (*part, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.part == nil {
		return nil, fault.New(fault.NotFound, "host", "is not part of a fleet",
			fault.WithHint("create one: fairlead fleet init; or join one: fairlead fleet join TOKEN"))
	}
	return f.part, nil
}

// refuseSecond returns an error if this host has a fleet.
func (f *Fleet) refuseSecond() error {
	p, err := f.current()
	if err != nil {
		return nil //nolint:nilerr // no fleet is what is wanted
	}
	return fault.New(fault.Exists, "host", "is already part of fleet "+short(p.membership().Fleet),
		fault.WithHint("leave it first: fairlead fleet leave"))
}

func (f *Fleet) store() storeproc.Process {
	return storeproc.Process{Program: f.cfg.StoreProgram, Dir: f.cfg.StoreDir, Certs: f.cfg.Dir}
}

// newID returns 16 random hexadecimal digits. IDs do not come from the machine ID, because that is
// copied with images of virtual machines.
func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails
	return hex.EncodeToString(b[:])
}

func short(fleet string) string { return fleet[:min(12, len(fleet))] }

func joinPort(address netip.Addr, port uint16) string {
	return net.JoinHostPort(address.String(), strconv.Itoa(int(port)))
}

// ownRecord returns the record of this host.
func (c Config) ownRecord(id, name string, address netip.Addr) *fleetv1.Host {
	return &fleetv1.Host{Id: id, Name: name, Address: address.String(), Port: uint32(c.Ports.Agent),
		Version: version.Version}
}

// storeLeft returns an error if a database of an earlier fleet is left.
func (f *Fleet) storeLeft() error {
	if f.store().Exists() {
		return fault.New(fault.Conflict, "store in "+f.cfg.StoreDir, "is left from an earlier fleet",
			fault.WithHint("move %s away", filepath.Dir(f.cfg.StoreDir)))
	}
	return nil
}
