package dnsagent

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/dnsagent/internal/api"
	"github.com/fairlead/fairlead/services/dnsagent/internal/files"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolvconf"
	"github.com/fairlead/fairlead/services/dnsagent/internal/store"
)

// names keeps the files and the state in step.
//
// No lock is held over an access to a file that a container has: it could delay it. The owner's lock is, which only that
// container's own calls wait for.
type names struct {
	store     *store.Store
	files     files.Publisher
	publisher *publisher
	hostRoot  string
	hostname  func() (string, error)
	resolvers *resolvers
	log       *slog.Logger

	owners ownerLock // one change of a container at a time

	mu         sync.Mutex // what is stored and what resolvers are told change together; after the owner's lock
	configured resolvconf.Conf
	sharers    map[string]map[string]bool // owner -> the containers that share its network
}

// configure takes other settings. Files of containers stay as they are; their resolvers pass questions on as the new settings say.
func (n *names) configure(c resolvconf.Conf) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.configured = c
	for _, r := range n.store.Registrations() {
		if r.Source == registration.Resolver {
			n.resolvers.setUpstream(r.Owner, r.Upstream(c))
		}
	}
}

// Register writes the files and then commits, so that a registration that is on disk has files that are whole. A resolver's sockets
// come first, as they can fail, and as others do not have to wait for them.
func (n *names) Register(ctx context.Context, r registration.Registration) (api.Registered, error) {
	if err := r.Validate(); err != nil {
		return api.Registered{}, err
	}
	var on *sockets
	if r.Source == registration.Resolver {
		var err error
		if on, err = n.resolvers.open(ctx, r.Owner); err != nil {
			return api.Registered{}, err
		}
	}
	done, err := n.register(ctx, r)
	if err != nil {
		on.close()
		return api.Registered{}, err
	}
	n.resolvers.serve(r.Owner, on)
	return done, nil
}

func (n *names) register(ctx context.Context, r registration.Registration) (api.Registered, error) {
	unlock, err := n.lockBoth(ctx, r.Owner, r.SharesWith)
	if err != nil {
		return api.Registered{}, err // the caller has gone while others were served
	}
	defer unlock()
	host, err := n.host(n.sourceOf(&r))
	if err != nil {
		return api.Registered{}, err
	}
	contents := n.contents(&r, host)
	if known, ok := n.store.Registration(r.Owner); ok {
		if !isSameRequest(known.Registration, r) {
			return api.Registered{}, fault.New(fault.Exists, registration.Subject(r.Owner), "its names are registered already, with other content",
				fault.WithHint("release the owner first"))
		}
		return n.registered(known), inTime(r.Owner, func() error { return n.files.Restore(r.Owner, contents) })
	}
	entry := &store.Registration{Registration: r, StartName: r.HostName(host.Name)}
	if err := n.create(entry, contents); err != nil {
		return api.Registered{}, errors.Join(err, inTime(r.Owner, func() error { return n.files.Remove(r.Owner) }))
	}
	return n.registered(entry), nil
}

// fileTime bounds how long a container's own calls wait for its files.
const fileTime = 2 * time.Second

// inTime bounds an access to files that a container may have. What is late goes on alone.
func inTime(owner string, access func() error) error {
	done := make(chan error, 1)
	go func() { done <- access() }()
	late := time.NewTimer(fileTime)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
		return fault.New(fault.Unavailable, registration.Subject(owner), "cannot access its name files in "+fileTime.String())
	}
}

// settings returns the configured settings.
func (n *names) settings() resolvconf.Conf {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.configured
}

// isSameRequest tells whether a request is for what there is. Who has got the resolver keeps it, on no user network too.
func isSameRequest(known, r registration.Registration) bool {
	if r.Source == registration.Generated && known.Source == registration.Resolver {
		r.Source = registration.Resolver
	}
	return reflect.DeepEqual(known, r)
}

// publishNames makes a container that has a resolver known to those on its networks. Of others, the resolvers know the addresses only.
func (n *names) publishNames(r *store.Registration) {
	if r.Source == registration.Resolver {
		n.resolvers.register(&r.Registration, r.Upstream(n.configured))
		return
	}
	n.resolvers.note(&r.Registration)
}

func (n *names) create(r *store.Registration, c registration.Contents) error {
	n.publisher.forget(r.Owner)
	if err := inTime(r.Owner, func() error { return n.files.Write(r.Owner, c) }); err != nil {
		return err
	}
	return n.commit(r)
}

// commit stores a registration and makes it known.
func (n *names) commit(r *store.Registration) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.store.Put(r); err != nil {
		return err
	}
	n.publishNames(r)
	n.shares(r)
	return nil
}

func (n *names) registered(r *store.Registration) api.Registered {
	return api.Registered{Owner: r.Owner, Paths: n.files.Paths(r.Owner), Hostname: r.StartName}
}

func (n *names) host(source registration.FileSource) (registration.HostFiles, error) {
	host, err := files.ReadHostFiles(n.hostRoot, source)
	if err != nil {
		return host, err
	}
	host.Name, err = n.hostname()
	return host, fault.Wrap(err, fault.Unavailable, "the host's name", "cannot be read")
}

// Owners gives the UIDs that are registered, sorted.
func (n *names) Owners(context.Context) ([]string, error) {
	var owners []string
	for _, r := range n.store.Registrations() {
		owners = append(owners, r.Owner)
	}
	return owners, nil
}

// Release makes the container unknown, and removes the files before it forgets it, so that an owner stays listed until nothing of it
// is left.
func (n *names) Release(ctx context.Context, owner string) error {
	if err := registration.CheckOwner(owner); err != nil {
		return err
	}
	n.resolvers.unregister(ctx, owner)
	unlock, err := n.owners.lock(ctx, owner)
	if err != nil {
		return err
	}
	defer unlock()
	n.publisher.forget(owner)
	if err := inTime(owner, func() error { return n.files.Remove(owner) }); err != nil {
		return err
	}
	n.leaveAlone(owner)
	n.mu.Lock()
	defer n.mu.Unlock()
	if known, ok := n.store.Registration(owner); ok {
		delete(n.sharers[known.SharesWith], owner)
	}
	return n.store.Delete(owner)
}

// reconcile applies the difference between state and files.
//
// A registration whose folder has gone is dropped: the run-time root was emptied, by a reboot as a rule, and no container can have
// the files any more, as a mount stays with the file that it was made from. New ones would reach nobody, and would only stand in
// the way of the container's next start, with perhaps another address. A folder that nobody registered was left by a request that
// did not end, and goes too. In a folder that is there, what is missing is written again and what is there is left alone, as
// containers may edit their files.
func (n *names) reconcile(ctx context.Context) error {
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
		n.log.InfoContext(ctx, "name files reconciled", "registrations_dropped", len(gone), "folders_removed", len(orphans))
	}
	return errors.Join(append(errs, n.store.Delete(gone...))...)
}

// resolved gives the owners that have a resolver.
func (n *names) resolved() []string {
	var owners []string
	for _, r := range n.store.Registrations() {
		if r.Source == registration.Resolver {
			owners = append(owners, r.Owner)
		}
	}
	return owners
}

// restore writes what is missing, and what a process before this one has not written any more.
func (n *names) restore(r *store.Registration) error {
	host, err := n.host(n.sourceOf(&r.Registration))
	if err != nil {
		return err
	}
	contents := n.contents(&r.Registration, host)
	if n.files.Stale(r.Owner) {
		n.publisher.republish(r.Owner, contents)
	}
	return inTime(r.Owner, func() error { return n.files.Restore(r.Owner, contents) })
}
