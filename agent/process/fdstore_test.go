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

	"github.com/fairlead/fairlead/agent/process"
	"github.com/fairlead/fairlead/agent/test/testsystemd"
)

// managed starts a service manager, and gives the agent's word to it.
func managed(t *testing.T) (*testsystemd.Manager, process.Notifier) {
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

func keeps(t *testing.T, m *testsystemd.Manager, want ...string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !slices.Equal(m.Names(), want); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the manager keeps %q, want %q", m.Names(), want)
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

func TestWhatAServiceLeavesIsForItsNextProcessOnly(t *testing.T) {
	m, n := managed(t)
	dns, net := process.NewStore(n, "dns", nil), process.NewStore(n, "net", nil)
	if !dns.Available() {
		t.Error("there is a manager, but the store keeps nothing")
	}
	for _, err := range []error{
		dns.Put(t.Context(), "a", temporary(t, "old")), dns.Put(t.Context(), "a", temporary(t, "new")),
		dns.Put(t.Context(), "b", temporary(t, "b")), net.Put(t.Context(), "a", temporary(t, "of net")),
		dns.Drop(t.Context(), "b"),
		dns.Drop(t.Context(), "never there"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	keeps(t, m, "kept.dns.a", "kept.net.a")
	handed, err := m.PassedFiles()
	if err != nil {
		t.Fatal(err)
	}
	next := process.NewStore(n, "dns", handed)
	left := next.Inherited()
	if len(left) != 1 || len(left["a"]) != 1 {
		t.Fatalf("left: %v", left)
	}
	text := make([]byte, 10)
	if size, err := left["a"][0].Read(text); string(text[:size]) != "new" {
		t.Errorf("left is %q, %v", text[:size], err)
	}
	if again := next.Inherited(); len(again) != 0 {
		t.Errorf("left again: %v", again)
	}
	for _, f := range handed {
		_ = f.Close()
	}
}

func TestWithoutAManagerNothingIsKept(t *testing.T) {
	s := process.NewStore(process.Notifier{}, "dns", nil)
	if err := s.Put(t.Context(), "a", temporary(t, "")); err != nil || s.Available() {
		t.Errorf("%v, keeps %v", err, s.Available())
	}
	if err := s.Drop(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}

// handedVariable has this program tell what it was handed, in place of running tests.
const handedVariable = "TELL_WHAT_WAS_HANDED"

func TestMain(m *testing.M) {
	if os.Getenv(handedVariable) == "" {
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

func TestWhatTheManagerHandsOverIsTakenAndPassedToNobody(t *testing.T) {
	m, n := managed(t)
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if err := process.NewStore(n, "dns", nil).Put(t.Context(), "a", temporary(t, "")); err != nil {
		t.Fatal(err)
	}
	keeps(t, m, "kept.dns.a")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), handedVariable+"=1")
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
		t.Errorf("%v\n%swant\n%s", err, out, want)
	}
}
