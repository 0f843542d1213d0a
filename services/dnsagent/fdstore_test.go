package dnsagent_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/service"
	"github.com/fairlead/fairlead/agent/test/testsystemd"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	"github.com/fairlead/fairlead/proto/id"
)

// manager starts a service manager and returns a function that creates a process's store.
func manager(t *testing.T) (*testsystemd.Manager, func() service.FDStore) {
	t.Helper()
	m, err := testsystemd.Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = m.Close() })
	return m, func() service.FDStore {
		store, err := m.Store("dns")
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
}

func keeps(t *testing.T, m *testsystemd.Manager, owners ...string) {
	t.Helper()
	want := len(owners) * 2
	complete := func() bool {
		text := strings.Join(m.Names(), " ")
		for _, o := range owners {
			if !strings.Contains(text, "kept.dns.udp."+o) || !strings.Contains(text, "kept.dns.tcp."+o) {
				return false
			}
		}
		return len(m.Names()) == want
	}

	for deadline := time.Now().Add(60 * time.Second); !complete(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("got sockets %q, want two of each of %q", m.Names(), owners)
		}
	}
}

func TestStoredSocketsAreServedWithoutNetagent(t *testing.T) {
	sm, store := manager(t)
	m := newMachine(t)
	k := m.keeper(t)
	m.store = store()
	client, stop := m.start()
	web, gone := id.New(), id.New()
	register(t, client, onNetworks(web, "front 10.1.0.2 web"))
	register(t, client, onNetworks(gone, "front 10.1.0.3 gone"))
	keeps(t, sm, web, gone)
	if _, err := client.Release(t.Context(), &dnsv1.ReleaseRequest{Owner: gone}); err != nil {
		t.Fatal(err)
	}

	keeps(t, sm, web)
	at := map[string]string{"udp": k.address("udp", web), "tcp": k.address("tcp", web)}
	stop()
	k.stop() // netagent has lost the sockets too
	answers := make(chan string, 2)
	for network, address := range at {
		go func() { answers <- askAt(network, address, "web") }()
	}

	m.store = store()
	client, _ = m.start()
	for range 2 {
		if got := <-answers; got != "10.1.0.2" {
			t.Errorf("query during the restart: got %s", got)
		}
	}

	update(t, client, web, "front 10.1.0.4 web") // does not need netagent
	if got := askAt("udp", at["udp"], "web"); got != "10.1.0.4" {
		t.Errorf("after an update: got %s", got)
	}

	if _, err := client.Release(t.Context(), &dnsv1.ReleaseRequest{Owner: web}); err != nil {
		t.Fatal(err)
	}

	keeps(t, sm)
}

func TestUnusedStoredSocketsAreDropped(t *testing.T) {
	sm, store := manager(t)
	m := newMachine(t)
	m.keeper(t)
	m.store = store()
	client, stop := m.start()
	web, unknown := id.New(), id.New()
	register(t, client, onNetworks(web, "front 10.1.0.2 web"))
	keeps(t, sm, web)
	stop()
	before := store()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}

	_ = l.Close()
	// two UDP sockets of web are not a pair
	for _, name := range []string{"udp." + unknown, "tcp." + unknown, "tcp.no-owner", "other", "udp." + web} {
		if err := before.Put(t.Context(), name, f); err != nil {
			t.Fatal(err)
		}
	}

	_ = f.Close()
	has := func(n int) {
		t.Helper()
		for deadline := time.Now().Add(60 * time.Second); len(sm.Names()) != n; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("got sockets %q", sm.Names())
			}
		}
	}

	has(6)
	m.store = store()
	m.start() // web's sockets come from netagent
	has(2)
	keeps(t, sm, web)
}

func TestNewSocketsReplaceStoredOnes(t *testing.T) {
	sm, store := manager(t)
	m := newMachine(t)
	k := m.keeper(t)
	m.store = store()
	client, _ := m.start()
	web := id.New()
	register(t, client, onNetworks(web, "front 10.1.0.2 web"))
	keeps(t, sm, web)
	k.forgetNow(web) // as after a restart of the container
	register(t, client, onNetworks(web, "front 10.1.0.2 web"))
	want := inodeOf(t, k.socket("udp", web))
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(time.Millisecond) {
		files, err := sm.PassedFiles()
		if err != nil {
			t.Fatal(err)
		}
		var got string
		for _, f := range files {
			if strings.Contains(f.Name(), "udp.") {
				got = inodeOf(t, int(f.Fd()))
			}
			_ = f.Close()
		}
		if len(files) == 2 && got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got sockets %q with %s, want %s", sm.Names(), got, want)
		}
	}
}

func inodeOf(t *testing.T, fd int) string {
	t.Helper()
	link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// socket returns the descriptor of an owner's socket.
func (k *keeper) socket(network, owner string) int {
	k.t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	pair, ok := k.kept[owner]
	if !ok {
		k.t.Fatalf("%s has no resolver", id.Short(owner))
	}
	return pair[map[string]int{"udp": 0, "tcp": 1}[network]]
}

// address returns the address of an owner's resolver.
func (k *keeper) address(network, owner string) string {
	k.t.Helper()
	bound, err := unix.Getsockname(k.socket(network, owner))
	if err != nil {
		k.t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", bound.(*unix.SockaddrInet4).Port)
}

func (k *keeper) forgetNow(owner string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.forget(owner)
}
