package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is a set of namespaces that commands can be run in as if it were a computer of its own. A client machine has only a
// network of its own; a host machine has mounts and processes of its own too.
type Machine struct {
	net, mnt, pid *os.File // mnt and pid are nil where they are the outer machine's
}

// Start starts a command on the machine. It is a child of this process, to be waited for and killed like any other; a process group
// of its own keeps a terminal's Ctrl-C away from it.
func (m *Machine) Start(cmd *exec.Cmd) error {
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	}
	return m.onThread(cmd.Start)
}

// Run is Start and Wait.
func (m *Machine) Run(cmd *exec.Cmd) error {
	if err := m.Start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// Output runs a command and answers what it printed, on either stream.
func (m *Machine) Output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := m.Run(cmd); err != nil {
		return out.String(), fmt.Errorf("%s: %w\n%s", cmd, err, out.String())
	}
	return out.String(), nil
}

// Listen opens a listener in the machine's network.
func (m *Machine) Listen(network, address string) (net.Listener, error) {
	var l net.Listener
	err := (&Machine{net: m.net}).onThread(func() (err error) {
		l, err = net.Listen(network, address)
		return err
	})
	return l, err
}

// ListenPacket opens a socket for datagrams in the machine's network.
func (m *Machine) ListenPacket(network, address string) (net.PacketConn, error) {
	var c net.PacketConn
	err := (&Machine{net: m.net}).onThread(func() (err error) {
		c, err = net.ListenPacket(network, address)
		return err
	})
	return c, err
}

// Dial connects from the machine's network.
func (m *Machine) Dial(network, address string, limit time.Duration) (net.Conn, error) {
	var conn net.Conn
	err := (&Machine{net: m.net}).onThread(func() (err error) {
		conn, err = net.DialTimeout(network, address, limit)
		return err
	})
	return conn, err
}

// onThread runs f on an OS thread inside the machine. The thread ends with it, so that nothing else ever runs there.
func (m *Machine) onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked
		if err := m.enter(); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// enter takes the calling thread into the machine's namespaces; for processes it is the thread's children that enter.
func (m *Machine) enter() error {
	if err := unix.Setns(int(m.net.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	if m.pid == nil {
		return nil
	}
	if err := unix.Setns(int(m.pid.Fd()), unix.CLONE_NEWPID); err != nil {
		return fmt.Errorf("enter pid namespace: %w", err)
	}
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare the working directory: %w", err)
	}
	if err := unix.Setns(int(m.mnt.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter mount namespace: %w", err)
	}
	return nil
}

// newClient makes a machine that has a network namespace and nothing else. It lives as long as this process holds it.
func newClient() (*Machine, error) {
	m := &Machine{}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("make a network namespace: %w", err)
			return
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		m.net = f
		done <- err
	}()
	return m, <-done
}

// ofProcess is the machine that a process lives on.
func ofProcess(pid int) (*Machine, error) {
	m := &Machine{}
	var errs []error
	for name, f := range map[string]**os.File{"net": &m.net, "mnt": &m.mnt, "pid": &m.pid} {
		var err error
		*f, err = os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, name))
		errs = append(errs, err)
	}
	return m, errors.Join(errs...)
}

// Path opens the machine's network namespace from the outer machine.
func (m *Machine) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), m.net.Fd()) }

func (m *Machine) close() {
	for _, f := range []*os.File{m.net, m.mnt, m.pid} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// Inside answers the host of a lab that another process made, by the process id that Lab.Pid told it.
func Inside(pid int) (*Machine, error) { return ofProcess(pid) }

// On answers the client of a lab that another process made, by the path that Machine.Path told it.
func On(path string) (*Machine, error) {
	f, err := os.Open(path)
	return &Machine{net: f}, err
}
