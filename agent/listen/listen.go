// Package listen opens what the agent listens on: unix sockets that only the right people can open, TCP, and what systemd hands over.
// Who may do what on them is package server's.
package listen

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/proto/fault"
)

// answerTime is how long a socket file that is already there may take to answer.
const answerTime = time.Second

// Access is who may open a unix socket.
type Access struct {
	Mode fs.FileMode
	GID  int // -1 leaves the process's own
}

// DefaultGroup is the group whose members may use the public sockets, where it exists.
const DefaultGroup = "fairlead"

// PublicAccess are the owners of a public socket: root and a group. The default group need not exist: then it is root alone.
func PublicAccess(group string) (Access, error) {
	name := group
	if name == "" {
		name = DefaultGroup
	}
	g, err := user.LookupGroup(name)
	if err != nil && group == "" {
		return Access{0o660, 0}, nil
	}
	if err != nil {
		return Access{}, fault.New(fault.Invalid, "group "+group, "there is no such group", fault.WithField("group"), fault.WithHint("make it with groupadd, or leave it out"))
	}
	gid, err := strconv.Atoi(g.Gid)
	return Access{0o660, gid}, err
}

// ServiceAccess are the owners of a service's socket: our own user, and root.
func ServiceAccess() Access { return Access{0o600, -1} }

// Open opens all hosts or none. Those that are fd:// are the sockets among handed, the files that systemd handed over.
func Open(ctx context.Context, hosts []config.Host, owners Access, handed ...*os.File) ([]net.Listener, error) {
	var all []net.Listener
	for _, h := range hosts {
		opened, err := open(ctx, h, owners, handed)
		if err != nil {
			for _, l := range all {
				err = errors.Join(err, l.Close())
			}
			return nil, err
		}
		all = append(all, opened...)
	}
	return all, nil
}

func open(ctx context.Context, h config.Host, owners Access, handed []*os.File) ([]net.Listener, error) {
	switch h.Network {
	case "fd":
		return inherited(handed)
	case "unix":
		l, err := openUnix(ctx, h.Address, owners)
		return []net.Listener{l}, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, h.Network, h.Address)
	return []net.Listener{l}, fault.Wrap(err, fault.Unavailable, "host "+h.String(), "cannot be listened on")
}

// inherited makes listeners of what was handed over, and leaves out what is no stream socket.
func inherited(handed []*os.File) ([]net.Listener, error) {
	var usable []net.Listener
	for _, f := range handed {
		if l, err := net.FileListener(f); err == nil {
			usable = append(usable, l)
		}
	}
	if usable == nil {
		return nil, fault.New(fault.Invalid, "host fd://", "systemd handed over no socket", fault.WithField("hosts"),
			fault.WithHint("start the agent by its socket unit, or leave fd:// out"))
	}
	return usable, nil
}

func openUnix(ctx context.Context, path string, owners Access) (net.Listener, error) {
	subject := "host unix://" + path
	if len(path) > config.UnixPathMax {
		return nil, fault.Invalidf(subject, "hosts", "the path has %d bytes, a unix socket's may have %d", len(path), config.UnixPathMax)
	}
	if err := clearStale(ctx, path, subject); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return setSocketMode(c) }}
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, subject, "cannot be listened on")
	}
	// The group comes before the mode that lets it in.
	if err := errors.Join(os.Chown(path, -1, owners.GID), os.Chmod(path, owners.Mode)); err != nil {
		return nil, errors.Join(fault.Wrap(err, fault.Unavailable, subject, "its owners cannot be set"), l.Close())
	}
	return l, nil
}

// setSocketMode makes the file that bind creates be open to nobody else, without touching the process's umask.
func setSocketMode(c syscall.RawConn) error {
	var err error
	cerr := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) })
	return errors.Join(cerr, err)
}

// clearStale removes a socket that nobody answers on. Anything else at that path stays.
func clearStale(ctx context.Context, path, subject string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			return fault.New(fault.Unavailable, subject, "its folder cannot be used", fault.WithCause(err), fault.WithHint("make the folder"))
		}
		return nil
	case err != nil:
		return fault.Wrap(err, fault.Unavailable, subject, "cannot be looked at")
	case info.Mode().Type() != fs.ModeSocket:
		return fault.New(fault.Exists, subject, "something that is no socket is there", fault.WithHint("move it away, or listen elsewhere"))
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		_ = conn.Close() // it was only to see whether somebody answers
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fault.New(fault.Busy, subject, "another process listens there", fault.WithHint("stop it, or listen elsewhere with -H or --exec-root"))
	}
	return fault.Wrap(os.Remove(path), fault.Unavailable, subject, "the stale socket cannot be removed")
}
