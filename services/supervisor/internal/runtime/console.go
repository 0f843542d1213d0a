package runtime

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

// console is the socket on which an OCI runtime passes a new terminal.
type console struct {
	dir *os.File
	l   *net.UnixListener
}

const consoleSocket = "console"

// listenConsole creates the socket in a directory. It uses the path of the directory's descriptor,
// because a socket path is limited to 107 bytes.
func listenConsole(path string) (*console, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	c := &console{dir: dir}
	if c.l, err = net.ListenUnix("unix", &net.UnixAddr{Name: c.path(), Net: "unix"}); err != nil {
		_ = dir.Close()
		return nil, err
	}
	c.l.SetUnlinkOnClose(false)
	return c, nil
}

// path returns a path that is valid in other processes too.
func (c *console) path() string {
	return filepath.Join(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), c.dir.Fd()), consoleSocket)
}

func (c *console) close() {
	_ = c.l.Close()
	_ = c.dir.Close()
}

// accept waits for the terminal until the runtime exits or ctx is done.
func (c *console) accept(ctx context.Context, ended <-chan struct{}) (*os.File, error) {
	defer c.close()
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
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	return receiveFile(conn)
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
