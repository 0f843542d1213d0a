package dnsagent_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	"github.com/fairlead/fairlead/proto/id"
)

// lease takes a lease on a file, as root in a container can, and returns a function that ends it.
func lease(t *testing.T, path string) (end func()) {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}

	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETSIG, int(unix.SIGURG)) // ignored by the Go runtime
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK)
	}
	if err != nil {
		t.Fatal(err)
	}

	return func() { _ = unix.Close(fd) }
}

// eventually waits until a file has a suffix.
func (m *machine) eventually(path, suffix string) {
	m.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for ; !strings.HasSuffix(m.read(path), suffix); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			m.t.Fatalf("got %q, want a suffix %q", m.read(path), suffix)
		}
	}
}

func TestFileLeaseDelaysNoChange(t *testing.T) {
	m := newMachine(t)
	m.keeper(t)
	client, stop := m.start()
	bad, other := id.New(), id.New()
	f := register(t, client, onNetworks(bad, "front 10.1.0.2 bad"))
	end := lease(t, f.GetHostsPath())
	began := time.Now()
	update(t, client, bad, "front 10.1.0.3 bad")
	register(t, client, onNetworks(other, "front 10.1.0.9 other"))
	update(t, client, bad, "front 10.1.0.4 bad")
	if took := time.Since(began); took > 20*time.Second { // a lease lasts 45 s
		t.Errorf("the changes took %s", took)
	}

	end()
	m.eventually(f.GetHostsPath(), "10.1.0.4\t"+bad[:12]+"\n")

	end = lease(t, f.GetHostsPath())
	update(t, client, bad, "front 10.1.0.5 bad")
	stop()
	end()
	client, _ = m.start() // writes what the former process could not
	m.eventually(f.GetHostsPath(), "10.1.0.5\t"+bad[:12]+"\n")
	end = lease(t, f.GetHostsPath())
	defer end()

	if _, err := client.Release(t.Context(), &dnsv1.ReleaseRequest{Owner: bad}); err != nil {
		t.Fatal(err)
	}

	if left, err := os.ReadDir(m.path("exec/dns")); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestContainerCannotBlockChange(t *testing.T) {
	m := newMachine(t)
	m.keeper(t)
	client, _ := m.start()
	for name, attack := range map[string]func(path string) error{
		"mode 0":         func(path string) error { return os.Chmod(path, 0) },
		"2 MiB appended": func(path string) error { return os.Truncate(path, 2<<20) },
		"another user":   func(path string) error { return os.Chown(path, 1000, 1000) },
	} {
		owner := id.New()
		f := register(t, client, onNetworks(owner, "front 10.1.0.2 bad"))
		if err := attack(f.GetHostsPath()); err != nil {
			t.Fatal(err)
		}
		update(t, client, owner, "front 10.1.0.3 bad")
		if got := m.read(f.GetHostsPath()); !strings.HasSuffix(got, "10.1.0.3\t"+owner[:12]+"\n") || len(got) > 4096 {
			t.Errorf("%s: got %d bytes, %q", name, len(got), got[:min(len(got), 100)])
		}
	}
}
