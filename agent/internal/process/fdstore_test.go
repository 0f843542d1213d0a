package process_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/internal/process"
	"github.com/fairlead/fairlead/agent/test/testsystemd"
)

// startManager starts a service manager and returns it with a notifier connected to it.
func startManager(t *testing.T) (*testsystemd.Manager, process.Notifier) {
	t.Helper()
	m, err := testsystemd.Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	t.Setenv("NOTIFY_SOCKET", m.Socket())
	n, err := process.NotifierFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	return m, n
}

// waitStored waits until the manager stores exactly the descriptors named want.
func waitStored(t *testing.T, m *testsystemd.Manager, want ...string) {
	t.Helper()
	for deadline := time.Now().Add(timeout); !slices.Equal(m.Names(), want); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("got descriptors %q, want %q", m.Names(), want)
		}
	}
}

func temporary(t *testing.T, text string) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestStoreInheritedByNextProcessOfService(t *testing.T) {
	m, n := startManager(t)
	dns, net := process.NewStore(n, "dns", nil), process.NewStore(n, "net", nil)
	if !dns.Available() {
		t.Error("got an unavailable store, want an available one")
	}

	for _, err := range []error{
		dns.Put(t.Context(), "a", temporary(t, "old")), dns.Put(t.Context(), "a", temporary(t, "new")),
		dns.Put(t.Context(), "b", temporary(t, "b")), net.Put(t.Context(), "a", temporary(t, "of net")),
		dns.Drop(t.Context(), "b"),
		dns.Drop(t.Context(), "missing"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}

	waitStored(t, m, "kept.dns.a", "kept.net.a")
	passed, err := m.PassedFiles()
	if err != nil {
		t.Fatal(err)
	}

	next := process.NewStore(n, "dns", passed)
	inherited := next.Inherited()
	if len(inherited) != 1 || len(inherited["a"]) != 1 {
		t.Fatalf("got inherited files %v, want one named a", inherited)
	}

	text := make([]byte, 10)
	if size, err := inherited["a"][0].Read(text); string(text[:size]) != "new" {
		t.Errorf("got text %q, error %v, want new", text[:size], err)
	}
	if again := next.Inherited(); len(again) != 0 {
		t.Errorf("second call: got %v, want none", again)
	}

	for _, f := range passed {
		_ = f.Close()
	}
}

func TestStoreWithoutManagerUnavailable(t *testing.T) {
	s := process.NewStore(process.Notifier{}, "dns", nil)
	if err := s.Put(t.Context(), "a", temporary(t, "")); err != nil || s.Available() {
		t.Errorf("got error %v, available %v, want neither", err, s.Available())
	}
	if err := s.Drop(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}

// printVariable makes this program print the files that it inherited instead of running tests.
const printVariable = "TEST_PRINT_INHERITED"

func TestMain(m *testing.M) {
	if os.Getenv(printVariable) == "" {
		os.Exit(m.Run())
	}

	sockets, left := process.InheritedFiles()
	for _, f := range sockets {
		fmt.Println("socket", f.Name())
	}

	for _, f := range left {
		fmt.Println("left", f.Name())
	}

	child, _ := exec.Command("sh", "-c", "echo child has $LISTEN_PID$LISTEN_FDS$LISTEN_FDNAMES; readlink "+
		"/proc/self/fd/* | grep -E '^socket:|/f$'").Output()
	fmt.Print(string(child))
}

func TestInheritedFilesHiddenFromChildren(t *testing.T) {
	m, n := startManager(t)
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if err := process.NewStore(n, "dns", nil).Put(t.Context(), "a", temporary(t, "")); err != nil {
		t.Fatal(err)
	}

	waitStored(t, m, "kept.dns.a")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), printVariable+"=1")
	started, err := m.Prepare(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer started()
	listener, err := l.(*net.UnixListener).File() // of a socket unit
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	cmd.ExtraFiles = append(cmd.ExtraFiles, listener)
	for i, v := range cmd.Env {
		switch name, value, _ := strings.Cut(v, "="); name {
		case "LISTEN_FDS":
			cmd.Env[i] = "LISTEN_FDS=2"
		case "LISTEN_FDNAMES":
			cmd.Env[i] = "LISTEN_FDNAMES=" + value + ":fairlead.socket"
		}
	}

	out, err := cmd.CombinedOutput()
	want := "socket fairlead.socket\nleft kept.dns.a\nchild has\n"
	if err != nil || string(out) != want {
		t.Errorf("got error %v, output\n%swant\n%s", err, out, want)
	}
}
