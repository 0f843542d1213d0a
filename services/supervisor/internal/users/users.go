// Package users resolves USER[:GROUP] to IDs with the /etc/passwd and /etc/group of a root file
// system. Package run calls it.
//
// The author of an image, or the container, writes both files. They are read through package
// beneath, with a size limit. Lines with IDs that are not valid are ignored: an ID of 2^32-1 means
// "unchanged" to the kernel, which is root.
package users

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"slices"
	"strconv"

	"github.com/moby/sys/user"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
)

const (
	maxFileSize = 4 << 20            // of passwd and of group
	maxGroups   = 1024               // supplementary groups; the kernel's limit is 65536
	maxID       = math.MaxUint32 - 1 // 2^32-1 is not an ID
)

// User holds the IDs of a process.
type User struct {
	UID, GID uint32
	// GID first, then the supplementary groups
	Groups []uint32
	Home   string // "/" if the root file system has none
}

// Resolve returns the IDs of spec: "1000", "nginx", "nginx:www", "1000:1000". Empty means root.
// Groups includes GID: without it, permissions that exclude the group would not apply. It also
// includes the additional groups, which are names or IDs.
func Resolve(rootfs, spec string, additional ...string) (User, error) {
	root, err := beneath.Open(rootfs)
	if err != nil {
		return User{}, fault.New(fault.Internal, "root file system "+rootfs, "cannot be opened", fault.WithCause(err))
	}
	defer func() { _ = root.Close() }()
	passwd, perr := read(root, "/etc/passwd")
	group, gerr := read(root, "/etc/group")
	if err := errors.Join(perr, gerr); err != nil {
		return User{}, err
	}
	u, err := resolve(spec, passwd, group)
	if err != nil || len(additional) == 0 {
		return u, err
	}
	return u, u.add(additional, group)
}

// add adds groups by name or ID.
func (u *User) add(additional []string, group []byte) error {
	gids, err := user.GetAdditionalGroups(additional, bytes.NewReader(valid(group, 2)))
	if err != nil {
		return fault.New(fault.Invalid, "group-add", "the image does not have the group", fault.WithField("group-add"),
			fault.WithCause(err), fault.WithHint("use names in the image's /etc/group, or numbers"))
	}
	slices.Sort(gids)
	for _, gid := range gids {
		if gid < 0 || gid > maxID {
			return fault.Invalidf("group-add", "group-add", "%d is not a group ID", gid)
		}
		if g := uint32(gid); !slices.Contains(u.Groups, g) {
			u.Groups = append(u.Groups, g)
		}
	}
	return nil
}

// read returns a file's content, or nil if it does not exist.
func read(root *beneath.Root, name string) ([]byte, error) {
	data, err := root.ReadFile(name, maxFileSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, name, "cannot be read in the root file system", fault.WithField("user"),
			fault.WithCause(err),
			fault.WithHint("replace it by a regular file of at most %d MiB", maxFileSize>>20))
	}
	return data, nil
}

// resolve is Resolve with the files' contents.
func resolve(spec string, passwd, group []byte) (User, error) {
	found, err := user.GetExecUser(spec, &user.ExecUser{Home: "/"}, bytes.NewReader(valid(passwd, 2, 3)),
		bytes.NewReader(valid(group, 2)))
	if err != nil {
		return User{}, fault.New(fault.Invalid, "user "+spec, "the image does not have it", fault.WithField("user"),
			fault.WithCause(err), fault.WithHint("use names in the image's /etc/passwd and /etc/group, or numbers"))
	}
	if len(found.Sgids) > maxGroups {
		return User{}, fault.Invalidf("user "+spec, "user",
			"is in %d groups of the image's /etc/group, at most %d are allowed", len(found.Sgids), maxGroups)
	}

	u := User{UID: uint32(found.Uid), GID: uint32(found.Gid), Groups: []uint32{uint32(found.Gid)}, Home: found.Home}
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

// valid returns the lines whose given fields are valid IDs.
func valid(file []byte, fields ...int) []byte {
	var out []byte
	for line := range bytes.Lines(file) {
		parts, ok := bytes.Split(bytes.TrimSpace(line), []byte{':'}), true
		for _, n := range fields {
			ok = ok && n < len(parts) && isID(parts[n])
		}
		if ok {
			out = append(out, line...)
		}
	}
	return out
}

func isID(text []byte) bool {
	n, err := strconv.ParseUint(string(text), 10, 32)
	return err == nil && n <= maxID
}
