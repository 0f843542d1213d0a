// Package device finds device nodes of the host: those that a container gets, and block devices
// with I/O limits. Package run calls it. It grants nothing: package spec writes the specification.
package device

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
)

// Node is a device node.
type Node struct {
	Path         string
	Type         string // "c" or "b"
	Major, Minor int64
	Mode         uint32 // permission bits
	UID, GID     uint32
}

// errNotDevice is the cause of a fault about a file that is not a device node.
var errNotDevice = errors.New("not a device node")

// stat returns the device node at a path, following links.
func stat(path string) (Node, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return Node{}, err
	}
	n := Node{Path: path, Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid,
		Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev))}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
		n.Type = "c"
	case unix.S_IFBLK:
		n.Type = "b"
	default:
		return n, errNotDevice
	}
	return n, nil
}

// Block returns the block device at a path, for an option of a container.
func Block(subject, option, path string) (Node, error) {
	n, err := stat(path)
	if err == nil && n.Type != "b" {
		err = errors.New("not a block device")
	}
	if err != nil {
		return n, fault.New(fault.Invalid, subject, "device "+path+" cannot be limited", fault.WithField(option),
			fault.WithCause(err), fault.WithHint("name a block device of the host, as in /dev/sda"))
	}
	return n, nil
}

// Find returns the device nodes at a host path, with their paths in the container. A link is
// followed. A directory stands for all device nodes below it.
func Find(subject, hostPath, containerPath string) ([]Node, error) {
	refuse := func(err error) error {
		if path, ok := errors.AsType[*fs.PathError](err); ok {
			err = path.Err
		}
		return fault.New(fault.Invalid, subject,
			"error gathering device information while adding custom device \""+hostPath+"\"",
			fault.WithField("device"), fault.WithCause(err), fault.WithHint("name a device node of the host"))
	}

	resolved, err := filepath.EvalSymlinks(hostPath)
	if err != nil {
		return nil, refuse(err)
	}
	n, err := stat(resolved)
	if err == nil {
		n.Path = containerPath
		return []Node{n}, nil
	}
	if !errors.Is(err, errNotDevice) {
		return nil, refuse(err)
	}

	var out []Node
	for _, n := range below(resolved) {
		n.Path = filepath.Join(containerPath, strings.TrimPrefix(n.Path, resolved))
		out = append(out, n)
	}
	if len(out) == 0 {
		return nil, refuse(err)
	}
	return out, nil
}

// below returns the device nodes in a directory and those below it. It does not follow links.
func below(dir string) []Node {
	var out []Node
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Type()&fs.ModeDevice == 0 {
			return nil //nolint:nilerr // a directory that cannot be read contains no device for a container
		}
		if n, err := stat(path); err == nil {
			out = append(out, n)
		}
		return nil
	})
	return out
}

// skipped lists the directories and files of /dev that each container has of its own.
var skipped = []string{"/dev/pts", "/dev/shm", "/dev/fd", "/dev/mqueue", "/dev/console", "/dev/.lxc",
	"/dev/.lxd-mounts", "/dev/.udev"}

// All returns the device nodes of the host, for a privileged container.
func All() []Node {
	own := func(n Node) bool {
		return slices.ContainsFunc(skipped,
			func(s string) bool { return n.Path == s || strings.HasPrefix(n.Path, s+"/") })
	}
	return slices.DeleteFunc(below("/dev"), own)
}
