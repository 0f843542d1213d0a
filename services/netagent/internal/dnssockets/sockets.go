package dnssockets

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/netagent/internal/dnssockets/redirect"
)

const (
	// receiveBuffer holds the queries that arrive while dnsagent restarts: about two thousand.
	receiveBuffer = 1 << 20
	backlog       = 128
	// queryTimeout is the TCP_DEFER_ACCEPT timeout in seconds.
	queryTimeout = 5
)

// pair holds the sockets of a resolver. They keep the namespace alive until they are closed.
type pair struct {
	namespace uint64 // inode number; unique while the sockets are open
	udp, tcp  int
}

// open opens a resolver's sockets in a namespace and redirects port 53 to them.
func open(path string) (*pair, error) {
	p := &pair{udp: -1, tcp: -1}
	err := inNamespace(path, func(ns *os.File) error {
		var err error
		if p.namespace, err = inode(ns.Name()); err != nil {
			return err
		}

		var udpPort, tcpPort uint16
		if p.udp, udpPort, err = bound(unix.SOCK_DGRAM); err != nil {
			return err
		}

		_ = unix.SetsockoptInt(p.udp, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) // a smaller buffer works too
		if p.tcp, tcpPort, err = bound(unix.SOCK_STREAM); err != nil {
			return err
		}

		if err := listen(p.tcp); err != nil {
			return err
		}

		return redirect.Apply(int(ns.Fd()), resolver(), udpPort, tcpPort)
	})
	if err != nil {
		p.close()
		return nil, err
	}

	return p, nil
}

// listen accepts connections after their first query only (TCP_DEFER_ACCEPT). When the last process
// closes the socket, the kernel resets connections in the accept queue. A program whose connect
// fails does not retry; one whose query fails does. The kernel also keeps a query for the next
// dnsagent until this one can read it.
func listen(tcp int) error {
	if err := unix.SetsockoptInt(tcp, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, queryTimeout); err != nil {
		return fmt.Errorf("set TCP_DEFER_ACCEPT: %w", err)
	}
	if err := unix.Listen(tcp, backlog); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return nil
}

// bound opens a socket and binds it to a port that the kernel chooses.
func bound(kind int) (fd int, port uint16, err error) {
	if fd, err = unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return -1, 0, fmt.Errorf("socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: resolver().As4()}); err != nil {
		return fd, 0, fmt.Errorf("bind %s: %w", resolver(), err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return fd, 0, fmt.Errorf("read socket address: %w", err)
	}
	return fd, uint16(name.(*unix.SockaddrInet4).Port), nil
}

// duplicates returns descriptors of the same sockets for another process.
func (p *pair) duplicates() ([]int, error) {
	udp, err := unix.FcntlInt(uintptr(p.udp), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	tcp, err := unix.FcntlInt(uintptr(p.tcp), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(err, unix.Close(udp))
	}
	return []int{udp, tcp}, nil
}

func (p *pair) close() {
	for _, fd := range []int{p.udp, p.tcp} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// resolver returns the address of the embedded resolver in every namespace.
func resolver() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 11}) }

// inNamespace runs f on a new thread in a namespace. The thread exits with f.
func inNamespace(path string, f func(ns *os.File) error) error {
	ns, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	defer ns.Close()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked, so the runtime ends the thread
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter network namespace: %w", err)
			return
		}
		done <- f(ns)
	}()
	return <-done
}

func inode(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, fmt.Errorf("network namespace: %w", err)
	}
	return st.Ino, nil
}

// upstreamSocket opens a socket in a namespace for queries to an upstream server.
func upstreamSocket(path, what string) ([]int, error) {
	kind, ok := map[string][2]int{
		"udp4": {unix.AF_INET, unix.SOCK_DGRAM}, "tcp4": {unix.AF_INET, unix.SOCK_STREAM},
		"udp6": {unix.AF_INET6, unix.SOCK_DGRAM}, "tcp6": {unix.AF_INET6, unix.SOCK_STREAM},
	}[what]
	if !ok {
		return nil, unix.EPROTONOSUPPORT
	}

	fd := -1
	err := inNamespace(path, func(*os.File) (err error) {
		if fd, err = unix.Socket(kind[0], kind[1]|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, egress.MarkNameServer)
		}
		return err
	})
	if err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return nil, err
	}

	return []int{fd}, nil
}

// netfilterSocket opens a netlink socket for the firewall in a namespace. natagent has the privilege to use it, but not
// to enter the namespace. It keeps the namespace alive until it is closed.
func netfilterSocket(path string) ([]int, error) {
	fd := -1
	err := inNamespace(path, func(*os.File) (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK,
			unix.NETLINK_NETFILTER)
		return err
	})
	if err != nil {
		return nil, err
	}
	return []int{fd}, nil
}
