package dnssockets_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
)

// begin starts a non-blocking connect to the resolver and does not wait for it.
func begin(t *testing.T, ns *testns.NS) (fd int) {
	t.Helper()
	var err error
	ns.Do(func() {
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err == nil {
			err = unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 11}, Port: 53})
		}
	})
	if !errors.Is(err, unix.EINPROGRESS) {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	await(t, fd, unix.POLLOUT)
	return fd
}

// await waits for a poll event of a socket.
func await(t *testing.T, fd int, what int16) {
	t.Helper()
	for deadline := time.Now().Add(timeout); ; {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: what}}, int(timeout.Milliseconds()))
		if n == 1 {
			return
		}
		if !errors.Is(err, unix.EINTR) || time.Now().After(deadline) {
			t.Fatalf("poll: %d, %v", n, err)
		}
	}
}

func TestConnectSucceedsWhenSocketsClose(t *testing.T) {
	f := start(t)
	owner, ns := f.container()
	r := f.resolver(owner)
	fd := begin(t, ns)
	r.close()
	f.stop() // closes the last descriptors, as when all agents are killed together
	if code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); code != 0 || err != nil {
		t.Fatalf("connect: got %v, %v, want success", unix.Errno(code), err)
	}
	f.serve()
	f.resolver(owner).answer("next")
	if _, err := unix.Write(fd, []byte("who?")); err != nil {
		t.Fatal(err)
	}
	await(t, fd, unix.POLLIN)
	if n, err := unix.Read(fd, make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("read: got %d, %v, want a connection reset", n, err)
	}
	expect(t, ns, "127.0.0.11", "next")
}

func TestAcceptWaitsForQuery(t *testing.T) {
	f := start(t)
	owner, ns := f.container()
	r := f.resolver(owner)
	first, second := begin(t, ns), begin(t, ns)
	for _, client := range []struct {
		fd    int
		query string
	}{{second, "second"}, {first, "first"}} {
		if _, err := unix.Write(client.fd, []byte(client.query)); err != nil {
			t.Fatal(err)
		}
		conn, err := r.tcp.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		buf := make([]byte, 16)
		_ = conn.SetReadDeadline(time.Now().Add(timeout))
		n, err := conn.Read(buf)
		if os.IsTimeout(err) || string(buf[:n]) != client.query {
			t.Errorf("got connection with query %q, %v; want %q", buf[:n], err, client.query)
		}
	}
}
