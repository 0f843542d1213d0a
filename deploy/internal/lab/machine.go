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

// Machine is a set of namespaces in which commands can run. A client has its own network namespace;
// a host also has mount and PID namespaces.
type Machine struct {
	net, mnt, pid *os.File // mnt and pid are nil for a client
}

// Start starts a command on the machine as a child of this process. It has its own process group,
// so that Ctrl-C does not reach it.
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

// Output runs a command and returns its output.
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

// ListenPacket opens a datagram socket in the machine's network.
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

// onThread runs f on an OS thread in the machine's namespaces. The thread exits with f, so no other
// code runs on it.
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

// enter moves the thread to the machine's namespaces. A PID namespace applies to its children.
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

// newClient creates a machine with a network namespace, which exists as long as this process holds
// it.
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

// ofProcess returns the machine of a process.
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

// Path returns a path of the machine's network namespace.
func (m *Machine) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), m.net.Fd()) }

func (m *Machine) close() {
	for _, f := range []*os.File{m.net, m.mnt, m.pid} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// Inside returns the host of another process's lab, given the result of Lab.Pid.
func Inside(pid int) (*Machine, error) { return ofProcess(pid) }

// On returns the client of another process's lab, given the result of Machine.Path.
func On(path string) (*Machine, error) {
	f, err := os.Open(path)
	return &Machine{net: f}, err
}
