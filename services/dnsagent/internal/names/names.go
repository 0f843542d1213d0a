// Package names registers, updates and releases the names of containers. It keeps name files,
// resolvers and store consistent.
//
// It does not open sockets or answer queries; package resolvers does. Package api calls it.
package names

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/keylock"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/dnsagent/internal/files"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolvconf"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolvers"
	"github.com/fairlead/fairlead/services/dnsagent/internal/store"
)

// Resolvers are the resolvers of the containers, and their zone.
type Resolvers interface {
	// Open requests the sockets of a container. It retries while netagent restarts.
	Open(ctx context.Context, owner string) (*resolvers.Sockets, error)
	// Serve starts a resolver on sockets, which it closes if the container is not registered.
	Serve(owner string, on *resolvers.Sockets)
	Serves(owner string) bool
	Register(r *registration.Registration, up registration.Upstream)
	PutAddresses(r *registration.Registration)
	SetUpstream(owner string, up registration.Upstream)
	Unregister(ctx context.Context, owner string)
}

// Config configures Names.
type Config struct {
	Store     *store.Store
	Files     files.Publisher
	Resolvers Resolvers
	Defaults  resolvconf.Conf        // settings of containers without their own
	HostRoot  string                 // root of the host's etc and run
	Hostname  func() (string, error) // returns the host name
	Log       *slog.Logger
}

// Names keeps name files, resolvers and store consistent. It is safe for concurrent use.
//
// mu is not held while a file of a container is accessed, since the container can delay that. The
// owner's lock is held, for which only calls for that container wait.
type Names struct {
	store     *store.Store
	files     files.Publisher
	publisher *publisher
	hostRoot  string
	hostname  func() (string, error)
	resolvers Resolvers
	log       *slog.Logger
	stop      context.CancelFunc // stops the publisher

	owners keylock.Mutex[string] // serializes changes of a container

	mu         sync.Mutex // makes changes of store and resolvers atomic; taken after the owner's lock
	configured resolvconf.Conf
	sharers    map[string]map[string]bool // owner to the containers that share its network
}

// New returns the names of a store. It changes no file of a container.
func New(cfg Config) *Names {
	running, stop := context.WithCancel(context.Background())
	return &Names{store: cfg.Store, files: cfg.Files, publisher: newPublisher(running.Done(), cfg.Files, cfg.Log),
		hostRoot: cfg.HostRoot, hostname: cfg.Hostname, resolvers: cfg.Resolvers, log: cfg.Log, stop: stop,
		configured: cfg.Defaults, sharers: map[string]map[string]bool{}}
}

// Close waits briefly for file writes in progress.
func (n *Names) Close() {
	n.stop()
	n.publisher.close()
}

// Registered is the result of a registration.
type Registered struct {
	Owner    string
	Paths    files.Paths
	Hostname string // hostname to start the container with
}

// Configure changes the configured settings. Existing files do not change; resolvers use the new
// upstreams.
func (n *Names) Configure(c resolvconf.Conf) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.configured = c
	for _, r := range n.store.Registrations() {
		if r.Source == registration.Resolver {
			n.resolvers.SetUpstream(r.Owner, r.Upstream(c))
		}
	}
}

// Register writes the files before it commits, so that a stored registration has complete files.
// Sockets are opened first, since that can fail and must not delay other containers.
func (n *Names) Register(ctx context.Context, r registration.Registration) (Registered, error) {
	if err := r.Validate(); err != nil {
		return Registered{}, err
	}

	var on *resolvers.Sockets
	if r.Source == registration.Resolver {
		var err error
		if on, err = n.resolvers.Open(ctx, r.Owner); err != nil {
			return Registered{}, err
		}
	}

	done, err := n.register(ctx, r)
	if err != nil {
		on.Close()
		return Registered{}, err
	}

	n.resolvers.Serve(r.Owner, on)
	return done, nil
}

func (n *Names) register(ctx context.Context, r registration.Registration) (Registered, error) {
	unlock, err := n.lockBoth(ctx, r.Owner, r.SharesWith)
	if err != nil {
		return Registered{}, err // the caller is gone
	}

	defer unlock()

	host, err := n.host(n.sourceOf(&r))
	if err != nil {
		return Registered{}, err
	}

	contents := n.contents(&r, host)
	if known, ok := n.store.Registration(r.Owner); ok {
		if !isSameRequest(known.Registration, r) {
			return Registered{}, fault.New(fault.Exists, registration.Subject(r.Owner),
				"already exists with another configuration",
				fault.WithHint("release the owner first"))
		}
		return n.registered(known), withFileTimeout(r.Owner, func() error { return n.files.Restore(r.Owner, contents) })
	}

	entry := &store.Registration{Registration: r, StartName: r.HostName(host.Name)}
	if err := n.create(entry, contents); err != nil {
		return Registered{}, errors.Join(err, withFileTimeout(r.Owner, func() error { return n.files.Remove(r.Owner) }))
	}

	return n.registered(entry), nil
}

// fileTime bounds the wait of a request for file access.
const fileTime = 2 * time.Second

// withFileTimeout bounds the wait for file access that a container can delay. A late access continues in the
// background.
func withFileTimeout(owner string, access func() error) error {
	done := make(chan error, 1)
	go func() { done <- access() }()
	late := time.NewTimer(fileTime)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
		return fault.New(fault.Unavailable, registration.Subject(owner),
			"cannot access its name files in "+fileTime.String())
	}
}

// settings returns the configured settings.
func (n *Names) settings() resolvconf.Conf {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.configured
}

// isSameRequest reports whether a request equals the stored one. A container keeps a resolver that
// it got later.
func isSameRequest(known, r registration.Registration) bool {
	if r.Source == registration.Generated && known.Source == registration.Resolver {
		r.Source = registration.Resolver
	}
	return reflect.DeepEqual(known, r)
}

// publishNames adds a container to the zone. Without a resolver, only its addresses are registered.
func (n *Names) publishNames(r *store.Registration) {
	if r.Source == registration.Resolver {
		n.resolvers.Register(&r.Registration, r.Upstream(n.configured))
		return
	}
	n.resolvers.PutAddresses(&r.Registration)
}

func (n *Names) create(r *store.Registration, c registration.Contents) error {
	n.publisher.forget(r.Owner)
	if err := withFileTimeout(r.Owner, func() error { return n.files.Write(r.Owner, c) }); err != nil {
		return err
	}
	return n.commit(r)
}

// commit stores a registration and publishes its names.
func (n *Names) commit(r *store.Registration) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.store.Put(r); err != nil {
		return err
	}
	n.publishNames(r)
	n.shares(r)
	return nil
}

func (n *Names) registered(r *store.Registration) Registered {
	return Registered{Owner: r.Owner, Paths: n.files.Paths(r.Owner), Hostname: r.StartName}
}

func (n *Names) host(source registration.FileSource) (registration.HostFiles, error) {
	host, err := files.ReadHostFiles(n.hostRoot, source)
	if err != nil {
		return host, err
	}
	host.Name, err = n.hostname()
	return host, fault.Wrap(err, fault.Unavailable, "host name", "cannot be read")
}

// Owners returns all registered owners, sorted.
func (n *Names) Owners(context.Context) ([]string, error) {
	var owners []string
	for _, r := range n.store.Registrations() {
		owners = append(owners, r.Owner)
	}
	return owners, nil
}

// Release releases an owner. The files are removed before the registration, so that an owner is
// listed until everything is removed.
func (n *Names) Release(ctx context.Context, owner string) error {
	if err := registration.CheckOwner(owner); err != nil {
		return err
	}

	n.resolvers.Unregister(ctx, owner)
	unlock, err := n.owners.LockContext(ctx, owner)
	if err != nil {
		return err
	}

	defer unlock()

	// again: a registration can have ended between the first time and the lock
	n.resolvers.Unregister(ctx, owner)
	n.publisher.forget(owner)
	if err := withFileTimeout(owner, func() error { return n.files.Remove(owner) }); err != nil {
		return err
	}

	n.unshareAll(owner)
	n.mu.Lock()
	defer n.mu.Unlock()

	if known, ok := n.store.Registration(owner); ok {
		delete(n.sharers[known.SharesWith], owner)
	}

	return n.store.Delete(owner)
}

// Reconcile applies the difference between state and files.
//
// A registration without a directory is dropped: the run-time root was emptied, usually by a
// reboot. No container can use the files any more, as a mount refers to the former inode, and new
// ones would be stale at the next start of the container.
//
// A directory without a registration was left by an interrupted request and is removed. In other
// directories, only missing files are written, as containers can edit their files.
func (n *Names) Reconcile(ctx context.Context) error {
	present, err := n.files.Owners()
	if err != nil {
		return err
	}

	orphans := make(map[string]bool, len(present))
	for _, owner := range present {
		orphans[owner] = true
	}

	var errs []error
	var gone []string
	for _, r := range n.store.Registrations() {
		if !orphans[r.Owner] {
			gone = append(gone, r.Owner)
			continue
		}
		delete(orphans, r.Owner)
		errs = append(errs, n.restore(r))
		n.publishNames(r)
		n.shares(r)
	}

	for owner := range orphans {
		errs = append(errs, n.files.Remove(owner))
	}

	if len(gone)+len(orphans) > 0 {
		n.log.InfoContext(ctx, "name files reconciled", "registrations_dropped", len(gone),
			"directories_removed", len(orphans))
	}

	return errors.Join(append(errs, n.store.Delete(gone...))...)
}

// Resolved returns the owners that have a resolver.
func (n *Names) Resolved() []string {
	var owners []string
	for _, r := range n.store.Registrations() {
		if r.Source == registration.Resolver {
			owners = append(owners, r.Owner)
		}
	}
	return owners
}

// restore writes missing files, and those that the former process had not updated.
func (n *Names) restore(r *store.Registration) error {
	host, err := n.host(n.sourceOf(&r.Registration))
	if err != nil {
		return err
	}
	contents := n.contents(&r.Registration, host)
	if n.files.Stale(r.Owner) {
		n.publisher.republish(r.Owner, contents)
	}
	return withFileTimeout(r.Owner, func() error { return n.files.Restore(r.Owner, contents) })
}
