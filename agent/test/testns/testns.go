// Package testns creates network namespaces for tests, so that tests do not change the network of
// the host.
//
// Only a file descriptor of the test process refers to a namespace. The kernel deletes the namespace
// with its contents when the process exits, even after a crash.
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

// CommandTimeout is the timeout for each command that Run and Try run in a namespace.
const CommandTimeout = 30 * time.Second

// NS is a network namespace.
type NS struct {
	t testing.TB
	f *os.File
}

// NeedRoot skips the test if it does not run as root. With CI set, it fails the test instead.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("this test must run as root")
	}
	t.Skip("needs root to create network namespaces")
}

// New creates a namespace with lo up. It is deleted when the test ends.
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

// Path returns the path at which any process can open the namespace while the test runs.
func (n *NS) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.f.Fd()) }

// Fd returns the descriptor of the namespace, for setns and netlink.NewHandleAt.
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

// onThread runs f on an OS thread that exits afterwards, so that no other goroutine runs on a thread
// in the namespace.
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

// offMainThread runs f on any thread except the main thread, which never exits and which /proc/self
// shows.
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

// Command returns a command that runs in the namespace, with the mounts of the host. It is killed
// when ctx is done.
func (n *NS) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + n.Path(), "--", name}, args...)...)
}

// Try runs a command in the namespace and returns its output.
func (n *NS) Try(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), CommandTimeout)
	defer cancel()
	var out bytes.Buffer
	cmd := n.Command(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return strings.TrimRight(strings.ReplaceAll(out.String(), peerGone, ""), "\n"), err
}

// peerGone is printed by ip while the namespace of the other end of a veth pair is being deleted.
const peerGone = "Error: Peer netns reference is invalid.\n"

// Run is like Try, and fails the test if the command fails.
func (n *NS) Run(name string, args ...string) string {
	n.t.Helper()
	out, err := n.Try(name, args...)
	if err != nil {
		n.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// Connect connects two namespaces with a veth pair. aAddrs and bAddrs are the addresses of its ends
// in CIDR notation, separated by spaces. Duplicate address detection is disabled.
func Connect(t testing.TB, a *NS, aName, aAddrs string, b *NS, bName, bAddrs string) {
	t.Helper()
	a.Run("ip", "link", "add", aName, "type", "veth", "peer", "name", bName, "netns", b.Path())
	a.setUp(aName, aAddrs)
	b.setUp(bName, bAddrs)
	a.awaitUp(aName)
	b.awaitUp(bName)
}

// awaitUp waits until a link is up. The kernel detects the carrier asynchronously and drops packets
// until then.
func (n *NS) awaitUp(link string) {
	n.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !strings.Contains(n.Run("ip", "link", "show", link), " state UP ") {
		if time.Now().After(deadline) {
			n.t.Fatalf("link %s is not up", link)
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

// Listen opens a stream listener in the namespace. It is closed when the test ends.
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

// ListenPacket opens a packet socket in the namespace. It is closed when the test ends.
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
