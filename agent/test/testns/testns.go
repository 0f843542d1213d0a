// Package testns gives tests network namespaces of their own, so that nothing a test does touches the machine's network.
//
// A namespace is held by a file descriptor of the test process and by nothing else: when the process ends, however it ends,
// the kernel takes the namespace away with all that is in it.
package testns

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// CommandTimeout bounds every command that runs in a namespace.
const CommandTimeout = 30 * time.Second

// NS is a network namespace.
type NS struct {
	t testing.TB
	f *os.File
}

// NeedRoot skips the test where namespaces cannot be made; under CI it fails it.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("this test must run as root")
	}
	t.Skip("needs root, to make network namespaces")
}

// New makes a namespace with lo up. It is gone when the test ends.
func New(t testing.TB) *NS {
	t.Helper()
	NeedRoot(t)
	n := &NS{t: t}
	onThread(t, func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		n.f = f
		return err
	})
	t.Cleanup(func() { _ = n.f.Close() })
	n.Run("ip", "link", "set", "lo", "up")
	return n
}

// Path opens the namespace from any process while the test runs.
func (n *NS) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.f.Fd()) }

// Fd is the namespace's descriptor, for setns and for netlink.NewHandleAt.
func (n *NS) Fd() int { return int(n.f.Fd()) }

// Do runs f on a thread in the namespace. Goroutines that f starts are not in it.
func (n *NS) Do(f func()) {
	n.t.Helper()
	onThread(n.t, func() error {
		if err := unix.Setns(n.Fd(), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("setns: %w", err)
		}
		f()
		return nil
	})
}

// onThread runs f on an OS thread that ends afterwards, so that no namespace is left on a thread that others use.
func onThread(t testing.TB, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go offMainThread(func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- f()
	})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// offMainThread runs f on any thread but the process's first one, which never ends and is what /proc/self shows.
func offMainThread(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	done := make(chan struct{})
	go func() { // on another thread, as this one is locked
		defer close(done)
		f()
	}()
	<-done
}

// Command prepares a command that runs in the namespace until ctx ends. The mounts are the machine's.
func (n *NS) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + n.Path(), "--", name}, args...)...)
}

// Try runs a command in the namespace and answers what it printed.
func (n *NS) Try(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), CommandTimeout)
	defer cancel()
	var out bytes.Buffer
	cmd := n.Command(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return strings.TrimRight(out.String(), "\n"), err
}

// Run is Try for what must succeed.
func (n *NS) Run(name string, args ...string) string {
	n.t.Helper()
	out, err := n.Try(name, args...)
	if err != nil {
		n.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// Connect joins two namespaces with a veth pair and gives each end an address in CIDR form (several may be given, separated
// by spaces). No duplicate address detection delays IPv6.
func Connect(t testing.TB, a *NS, aName, aAddrs string, b *NS, bName, bAddrs string) {
	t.Helper()
	a.Run("ip", "link", "add", aName, "type", "veth", "peer", "name", bName, "netns", b.Path())
	a.setUp(aName, aAddrs)
	b.setUp(bName, bAddrs)
	a.awaitUp(aName)
	b.awaitUp(bName)
}

// awaitUp waits until a link passes packets on: the kernel drops what is sent before it has looked at the carrier, which it does in its
// own time.
func (n *NS) awaitUp(link string) {
	n.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(n.Run("ip", "link", "show", link), " state UP "); {
		if time.Now().After(deadline) {
			n.t.Fatalf("%s does not come up", link)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (n *NS) setUp(link, addrs string) {
	n.t.Helper()
	for _, addr := range strings.Fields(addrs) {
		args := []string{"addr", "add", addr, "dev", link}
		if strings.Contains(addr, ":") {
			args = append(args, "nodad")
		}
		n.Run("ip", args...)
	}
	n.Run("ip", "link", "set", link, "up")
}

// Listen opens a stream listener in the namespace, closed when the test ends.
func (n *NS) Listen(network, addr string) net.Listener {
	n.t.Helper()
	var l net.Listener
	var err error
	n.Do(func() { l, err = net.Listen(network, addr) })
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = l.Close() })
	return l
}

// ListenPacket opens a packet socket in the namespace, closed when the test ends.
func (n *NS) ListenPacket(network, addr string) net.PacketConn {
	n.t.Helper()
	var c net.PacketConn
	var err error
	n.Do(func() { c, err = net.ListenPacket(network, addr) })
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = c.Close() })
	return c
}

// Dial connects from the namespace to a numeric address.
func (n *NS) Dial(network, addr string, timeout time.Duration) (net.Conn, error) {
	n.t.Helper()
	var c net.Conn
	var err error
	n.Do(func() { c, err = net.DialTimeout(network, addr, timeout) })
	return c, err
}
