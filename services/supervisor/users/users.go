// Package users finds out which ids USER[:GROUP] means inside a root file system, by its own /etc/passwd and /etc/group.
//
// A root file system is written by strangers: its files are opened as if it were the root, so no link in it leads to the host's files,
// and only plain files of a sane size are read. The package knows nothing of images or processes.
package users

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/fault"
)

// maxFileSize is more than any user database that is not an attack.
const maxFileSize = 16 << 20

// User is who a process runs as.
type User struct {
	UID, GID uint32
	Groups   []uint32 // supplementary, without GID
	Home     string   // "/" if the root file system does not say
}

// Resolve gives the ids that spec means: "", "1000", "nginx", "nginx:www", "1000:1000". The empty one is root.
func Resolve(rootfs, spec string) (User, error) {
	root, err := unix.Open(rootfs, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return User{}, fault.New(fault.Internal, "root file system "+rootfs, "cannot be opened", fault.WithCause(err))
	}
	defer func() { _ = unix.Close(root) }()
	passwd, perr := readIn(root, "etc/passwd")
	group, gerr := readIn(root, "etc/group")
	if err := errors.Join(perr, gerr); err != nil {
		return User{}, err
	}
	return resolve(spec, passwd, group)
}

// resolve is Resolve on the files' contents.
func resolve(spec string, passwd, group []byte) (User, error) {
	defaults := &user.ExecUser{Home: "/"}
	found, err := user.GetExecUser(spec, defaults, bytes.NewReader(passwd), bytes.NewReader(group))
	if err != nil {
		return User{}, fault.New(fault.Invalid, "user "+spec, "the image does not have it", fault.WithField("user"),
			fault.WithCause(err), fault.WithHint("give a name of the image's /etc/passwd and /etc/group, or numbers"))
	}
	u := User{UID: uint32(found.Uid), GID: uint32(found.Gid), Home: found.Home}
	for _, g := range found.Sgids {
		if g != found.Gid {
			u.Groups = append(u.Groups, uint32(g))
		}
	}
	if u.Home == "" {
		u.Home = "/"
	}
	return u, nil
}

// readIn reads a plain file below root. A missing one is empty.
func readIn(root int, name string) ([]byte, error) {
	fd, err := unix.Openat2(root, name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "/"+name, "cannot be read in the root file system", fault.WithCause(err))
	}
	f := os.NewFile(uintptr(fd), name)
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxFileSize) {
		return nil, fault.New(fault.Invalid, "/"+name, "it is no plain file of a sane size in the root file system")
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, maxFileSize))
}
