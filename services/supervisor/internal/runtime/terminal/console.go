// Package terminal creates pseudo-terminals, and receives those that OCI runtimes create. Package
// runtime calls it.
package terminal

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Console is the socket on which an OCI runtime passes a new terminal.
type Console struct {
	dir *os.File
	l   *net.UnixListener
}

const consoleSocket = "console"

// Listen creates the socket in a directory. It uses the path of the directory's descriptor,
// because a socket path is limited to 107 bytes.
func Listen(path string) (*Console, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	c := &Console{dir: dir}
	if c.l, err = net.ListenUnix("unix", &net.UnixAddr{Name: c.Path(), Net: "unix"}); err != nil {
		_ = dir.Close()
		return nil, err
	}
	c.l.SetUnlinkOnClose(false)
	return c, nil
}

// Path returns a path that is valid in other processes too.
func (c *Console) Path() string {
	return filepath.Join(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), c.dir.Fd()), consoleSocket)
}

// Close closes the socket.
func (c *Console) Close() {
	_ = c.l.Close()
	_ = c.dir.Close()
}

// Accept waits for the terminal until the runtime exits or ctx is done. It also returns the terminal of a runtime
// that has sent it and has exited before Accept had its turn.
func (c *Console) Accept(ctx context.Context, ended <-chan struct{}) (*os.File, error) {
	defer c.Close()
	accepted := make(chan struct{})
	defer close(accepted)
	go func() {
		select {
		case <-ended:
		case <-ctx.Done():
		case <-accepted:
			return
		}
		_ = c.l.SetDeadline(time.Unix(1, 0))
	}()

	conn, err := c.l.AcceptUnix()
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
		conn, err = c.acceptNow(err)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	return receiveFile(conn)
}

// acceptNow returns a connection that waits already, otherwise the given error.
func (c *Console) acceptNow(none error) (*net.UnixConn, error) {
	raw, err := c.l.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	if err := raw.Control(func(listener uintptr) {
		fd, _, err = unix.Accept4(int(listener), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	}); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, none
	}

	file := os.NewFile(uintptr(fd), consoleSocket)
	defer func() { _ = file.Close() }()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// receiveFile receives a file descriptor from a socket.
func receiveFile(conn *net.UnixConn) (*os.File, error) {
	name, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(name, oob)
	if err != nil {
		return nil, err
	}

	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return nil, err
	}
	if len(messages) != 1 {
		return nil, errors.New("the runtime sent no terminal")
	}

	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.Join(err, errors.New("the runtime sent no terminal"))
	}

	if err := unix.SetNonblock(fds[0], true); err != nil {
		_ = unix.Close(fds[0])
		return nil, err
	}

	return os.NewFile(uintptr(fds[0]), "terminal"), nil
}
