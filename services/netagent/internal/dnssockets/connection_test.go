package dnssockets_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
)

// begin connects to the resolver as the kernel does it for a program that has not run since: what became of it is not looked at.
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

// await waits until something can be done with a socket.
func await(t *testing.T, fd int, what int16) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: what}}, int(patience.Milliseconds()))
		if n == 1 {
			return
		}
		if !errors.Is(err, unix.EINTR) || time.Now().After(deadline) {
			t.Fatalf("poll: %d, %v", n, err)
		}
	}
}

func TestAConnectionIsMadeAlsoIfTheSocketsGoMeanwhile(t *testing.T) {
	f := start(t)
	owner, ns := f.container()
	r := f.resolver(owner)
	fd := begin(t, ns)
	r.close()
	f.stop() // the last who had the sockets, as if all agents were killed at once
	if code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); code != 0 || err != nil {
		t.Fatalf("connect: %v, %v; a program takes that for a failure", unix.Errno(code), err)
	}
	f.serve()
	f.resolver(owner).answer("next")
	if _, err := unix.Write(fd, []byte("who?")); err != nil {
		t.Fatal(err)
	}
	await(t, fd, unix.POLLIN)
	if n, err := unix.Read(fd, make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("read: %d, %v; want a reset, after which the question is asked again", n, err)
	}
	expect(t, ns, "127.0.0.11", "next")
}

func TestAConnectionIsAcceptedWithItsQuestion(t *testing.T) {
	f := start(t)
	owner, ns := f.container()
	r := f.resolver(owner)
	first, second := begin(t, ns), begin(t, ns)
	for _, asker := range []struct {
		fd       int
		question string
	}{{second, "second"}, {first, "first"}} {
		if _, err := unix.Write(asker.fd, []byte(asker.question)); err != nil {
			t.Fatal(err)
		}
		conn, err := r.tcp.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		buf := make([]byte, 16)
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		n, err := conn.Read(buf)
		if os.IsTimeout(err) || string(buf[:n]) != asker.question {
			t.Errorf("accepted one that asks %q, %v; want %q", buf[:n], err, asker.question)
		}
	}
}
