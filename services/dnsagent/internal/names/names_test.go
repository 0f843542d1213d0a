package names_test

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/dnsagent/internal/files"
	"github.com/fairlead/fairlead/services/dnsagent/internal/names"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolvers"
	"github.com/fairlead/fairlead/services/dnsagent/internal/store"
)

// fakeResolvers are resolvers without sockets. A container is served while it is registered.
type fakeResolvers struct {
	mu         sync.Mutex
	registered map[string]bool
	running    map[string]bool

	onRegister, onUnregister func() // called before the change; can be nil
}

func (f *fakeResolvers) Open(context.Context, string) (*resolvers.Sockets, error) { return nil, nil }

func (f *fakeResolvers) Serve(owner string, _ *resolvers.Sockets) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running[owner] = f.registered[owner]
}

func (f *fakeResolvers) Serves(owner string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.running[owner]
}

func (f *fakeResolvers) Register(r *registration.Registration, _ registration.Upstream) {
	if f.onRegister != nil {
		f.onRegister()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.registered[r.Owner] = true
}

func (f *fakeResolvers) PutAddresses(*registration.Registration)   {}
func (f *fakeResolvers) SetUpstream(string, registration.Upstream) {}
func (f *fakeResolvers) Unregister(_ context.Context, owner string) {
	f.mu.Lock()
	delete(f.registered, owner)
	delete(f.running, owner)
	f.mu.Unlock()
	if f.onUnregister != nil {
		f.onUnregister()
	}
}

// left returns the owners that are registered or served.
func (f *fakeResolvers) left() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := maps.Clone(f.registered)
	for owner, on := range f.running {
		all[owner] = all[owner] || on
	}
	maps.DeleteFunc(all, func(_ string, on bool) bool { return !on })
	return slices.Sorted(maps.Keys(all))
}

// setUp returns names on an empty host.
func setUp(t *testing.T) (*names.Names, *fakeResolvers, *store.Store, string) {
	t.Helper()
	root := t.TempDir()
	for path, content := range map[string]string{"etc/resolv.conf": "nameserver 192.0.2.1\n",
		"etc/hosts": "127.0.0.1 localhost\n"} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	st, err := store.OpenAs(filepath.Join(root, "lib"), state.Config{})
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeResolvers{registered: map[string]bool{}, running: map[string]bool{}}
	dir := filepath.Join(root, "run", "dns")
	n := names.New(names.Config{Store: st, Files: files.NewPublisher(dir), Resolvers: f, HostRoot: root,
		Hostname: func() (string, error) { return "host", nil }, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		n.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return n, f, st, dir
}

func resolved(owner string) registration.Registration {
	return registration.Registration{Owner: owner, Source: registration.Resolver,
		Networks: []registration.Network{{ID: strings.Repeat("f", 64), Name: "app", Names: []string{"web"}}}}
}

// nothing checks that no part of a registration is left.
func nothing(t *testing.T, f *fakeResolvers, st *store.Store, dir string) {
	t.Helper()
	if left := f.left(); len(left) > 0 {
		t.Errorf("resolvers are left: %v", left)
	}
	if all := st.Registrations(); len(all) > 0 {
		t.Errorf("registrations are left: %v", all)
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("directories are left: %v", entries)
	}
}

// TestReleaseEndsRegistrationInProgress releases an owner while it is being registered. The
// registration adds the container to the resolvers after the release has removed it once.
func TestReleaseEndsRegistrationInProgress(t *testing.T) {
	n, f, st, dir := setUp(t)
	owner := strings.Repeat("a", 64)
	registering, unregistered := make(chan struct{}), make(chan struct{})
	f.onRegister = func() {
		close(registering)
		<-unregistered
	}
	f.onUnregister = sync.OnceFunc(func() { close(unregistered) })

	var all sync.WaitGroup
	all.Go(func() {
		if _, err := n.Register(context.Background(), resolved(owner)); err != nil {
			t.Errorf("Register: %v", err)
		}
	})
	<-registering
	if err := n.Release(context.Background(), owner); err != nil {
		t.Errorf("Release: %v", err)
	}
	all.Wait()
	nothing(t, f, st, dir)
}

func TestRegisterServesAndReleases(t *testing.T) {
	n, f, st, dir := setUp(t)
	owner := strings.Repeat("b", 64)
	done, err := n.Register(context.Background(), resolved(owner))
	if err != nil {
		t.Fatal(err)
	}
	if !f.Serves(owner) || n.Resolved()[0] != owner {
		t.Error("got no resolver")
	}
	if _, err := os.Stat(done.Paths.Hosts); err != nil {
		t.Error(err)
	}

	other := resolved(owner)
	other.Hostname = "other"
	if _, err := n.Register(context.Background(), other); !fault.Is(err, fault.Exists) {
		t.Errorf("another registration: got %v", err)
	}
	if err := n.Release(context.Background(), owner); err != nil {
		t.Fatal(err)
	}
	nothing(t, f, st, dir)
	if err := n.Update(context.Background(), owner, names.Update{}); !fault.Is(err, fault.NotFound) {
		t.Errorf("update after release: got %v", err)
	}
}

// TestReconcileDropsWhatHasNoFiles: the run-time root was emptied, and a directory has no
// registration.
func TestReconcileDropsWhatHasNoFiles(t *testing.T) {
	n, f, st, dir := setUp(t)
	owner := strings.Repeat("c", 64)
	if _, err := n.Register(context.Background(), resolved(owner)); err != nil {
		t.Fatal(err)
	}
	f.Unregister(context.Background(), owner)
	if err := os.Rename(filepath.Join(dir, owner), filepath.Join(dir, strings.Repeat("d", 64))); err != nil {
		t.Fatal(err)
	}
	if err := n.Reconcile(context.Background()); err != nil {
		t.Fatal(err)
	}
	nothing(t, f, st, dir)
}
