// Package listen opens the sockets of the agent: Unix sockets with owner and mode, TCP, and sockets
// passed by systemd. Package server authorizes the clients.
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

// probeTimeout is the time limit for connecting to an existing socket file.
const probeTimeout = time.Second

// Access is the mode and group of a Unix socket.
type Access struct {
	Mode fs.FileMode
	GID  int // -1 keeps the group of the process
}

// DefaultGroup is the group with access to the public sockets, if it exists.
const DefaultGroup = "fairlead"

// PublicAccess returns the access of a public socket: root and a group. Only root has access if
// group is empty and the default group does not exist.
func PublicAccess(group string) (Access, error) {
	name := group
	if name == "" {
		name = DefaultGroup
	}
	if _, err := user.LookupGroup(name); err != nil && group != "" {
		return Access{}, fault.New(fault.Invalid, "group "+group, "does not exist", fault.WithField("group"),
			fault.WithHint("create it with groupadd, or remove the key"))
	}
	return GroupAccess(name)
}

// GroupAccess returns the access of a socket for root and a group. Only root has access if the group
// does not exist.
func GroupAccess(group string) (Access, error) {
	g, err := user.LookupGroup(group)
	if err != nil {
		return Access{0o660, 0}, nil
	}
	gid, err := strconv.Atoi(g.Gid)
	return Access{0o660, gid}, err
}

// ServiceAccess returns the access of a service's socket: the agent's own user and root.
func ServiceAccess() Access { return Access{0o600, -1} }

// Open opens the listeners of all hosts, or none. handed holds the sockets passed by systemd, which
// are used for fd://.
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
	return []net.Listener{l}, fault.Wrap(err, fault.Unavailable, "host "+h.String(), "cannot listen")
}

// inherited returns listeners for the passed files that are stream sockets.
func inherited(handed []*os.File) ([]net.Listener, error) {
	var usable []net.Listener
	for _, f := range handed {
		if l, err := net.FileListener(f); err == nil {
			usable = append(usable, l)
		}
	}
	if usable == nil {
		return nil, fault.New(fault.Invalid, "host fd://", "no socket was passed by systemd", fault.WithField("hosts"),
			fault.WithHint("start the agent with its socket unit, or remove fd://"))
	}
	return usable, nil
}

func openUnix(ctx context.Context, path string, owners Access) (net.Listener, error) {
	subject := "host unix://" + path
	if len(path) > config.UnixPathMax {
		return nil, fault.Invalidf(subject, "hosts", "the path has %d bytes, more than %d", len(path),
			config.UnixPathMax)
	}
	if err := clearStale(ctx, path, subject); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return setSocketMode(c) }}
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, subject, "cannot listen")
	}
	// The group is set before the mode that gives it access.
	if err := errors.Join(os.Chown(path, -1, owners.GID), os.Chmod(path, owners.Mode)); err != nil {
		return nil, errors.Join(fault.Wrap(err, fault.Unavailable, subject, "cannot set owner and mode"), l.Close())
	}
	return l, nil
}

// setSocketMode makes bind create a file that only the owner can access, without changing the
// process's umask.
func setSocketMode(c syscall.RawConn) error {
	var err error
	cerr := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) })
	return errors.Join(cerr, err)
}

// clearStale removes a socket without a listening process. Other files are kept.
func clearStale(ctx context.Context, path, subject string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			return fault.New(fault.Unavailable, subject, "directory cannot be used", fault.WithCause(err),
				fault.WithHint("create the directory"))
		}
		return nil
	case err != nil:
		return fault.Wrap(err, fault.Unavailable, subject, "cannot be inspected")
	case info.Mode().Type() != fs.ModeSocket:
		return fault.New(fault.Exists, subject, "exists and is not a socket",
			fault.WithHint("remove it, or use another path"))
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		_ = conn.Close() // it was only a probe
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fault.New(fault.Busy, subject, "is in use by another process",
			fault.WithHint("stop it, or use another path with -H or --exec-root"))
	}
	return fault.Wrap(os.Remove(path), fault.Unavailable, subject, "the stale socket cannot be removed")
}
