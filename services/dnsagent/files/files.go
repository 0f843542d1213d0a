// Package files keeps containers' name files in a folder of the run-time root, and reads the host's own.
//
// A container's files are bind-mounted into it, and a mount stays with the file that it was made from. So an existing file is
// written in place and never replaced. What they hold is decided elsewhere.
package files

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/agent/id"
	"github.com/fairlead/fairlead/services/dnsagent/registration"
)

const (
	fileMode = 0o644 // every user of a container reads them
	dirMode  = 0o711 // mapped users must pass; nobody needs a list of containers
)

// Folder holds one folder an owner, with three files in each.
type Folder struct{ root string }

// In is the folder at root.
func In(root string) Folder { return Folder{root} }

// Paths tells where an owner's files are.
type Paths struct{ Hostname, Hosts, ResolvConf string }

// Paths of an owner, whether they exist or not.
func (f Folder) Paths(owner string) Paths {
	dir := filepath.Join(f.root, owner)
	return Paths{filepath.Join(dir, "hostname"), filepath.Join(dir, "hosts"), filepath.Join(dir, "resolv.conf")}
}

// Write writes all three files, in place where they exist.
func (f Folder) Write(owner string, c registration.Contents) error {
	return f.each(owner, c, writeInPlace)
}

// Restore writes those of the files that are missing, and leaves the others as they are: a container may have edited them.
func (f Folder) Restore(owner string, c registration.Contents) error {
	return f.each(owner, c, func(path string, data []byte) error {
		if _, err := os.Lstat(path); err == nil {
			return nil
		}
		return writeInPlace(path, data)
	})
}

func (f Folder) each(owner string, c registration.Contents, write func(path string, data []byte) error) error {
	p := f.Paths(owner)
	err := os.MkdirAll(filepath.Join(f.root, owner), dirMode)
	if err == nil {
		err = errors.Join(write(p.Hostname, c.Hostname), write(p.Hosts, c.Hosts), write(p.ResolvConf, c.ResolvConf))
	}
	if err != nil {
		return fault.New(fault.Unavailable, registration.Subject(owner), "its name files cannot be written", fault.WithCause(err),
			fault.WithHint("look for a full or read-only file system at %s", f.root))
	}
	return nil
}

// writeInPlace keeps the file's inode, and does not reach it through a symbolic link.
func writeInPlace(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|syscall.O_NOFOLLOW, fileMode)
	if err != nil {
		return err
	}
	return errors.Join(fill(file, data), file.Close())
}

// fill cuts the file only after the writing, so that it is never seen empty, and only if there is something to cut.
func fill(file *os.File, data []byte) error {
	before, err := file.Stat()
	if err != nil {
		return err
	}
	if _, err := file.Write(data); err != nil {
		return err
	}
	if before.Size() > int64(len(data)) {
		if err := file.Truncate(int64(len(data))); err != nil {
			return err
		}
	}
	if before.Mode() == fileMode {
		return nil
	}
	return file.Chmod(fileMode) // whatever the umask is, and whatever the container made of it
}

// maxEdit is how long a file may be for us to edit it. A container can make its own as long as it likes.
const maxEdit = 1 << 20

// Edit changes one of an owner's files in place: it is written as change makes it of what is there.
func (f Folder) Edit(owner, path string, change func([]byte) []byte) error {
	file, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err == nil {
		err = errors.Join(edit(file, change), file.Close())
	}
	return fault.Wrap(err, fault.Unavailable, registration.Subject(owner), "its file "+filepath.Base(path)+" cannot be changed")
}

func edit(file *os.File, change func([]byte) []byte) error {
	before, err := io.ReadAll(io.LimitReader(file, maxEdit+1))
	if err != nil {
		return err
	}
	if len(before) > maxEdit {
		return fmt.Errorf("it has more than %d bytes", maxEdit)
	}
	after := change(before)
	if bytes.Equal(before, after) {
		return nil
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return fill(file, after)
}

// Remove removes an owner's folder. No error if there is none.
func (f Folder) Remove(owner string) error {
	return fault.Wrap(os.RemoveAll(filepath.Join(f.root, owner)), fault.Unavailable, registration.Subject(owner), "its name files cannot be removed")
}

// Owners gives the UIDs that have a folder, sorted. It makes the root if it is not there. What is not named by a UID is not ours.
func (f Folder) Owners() ([]string, error) {
	if err := os.MkdirAll(f.root, dirMode); err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "folder "+f.root, "cannot be made")
	}
	entries, err := os.ReadDir(f.root)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "folder "+f.root, "cannot be read")
	}
	var owners []string
	for _, e := range entries {
		if e.IsDir() && id.Valid(e.Name()) {
			owners = append(owners, e.Name())
		}
	}
	return owners, nil
}

// The host's files, below its root.
const (
	hostname     = "etc/hostname"
	hosts        = "etc/hosts"
	resolvConf   = "etc/resolv.conf"
	resolvedConf = "run/systemd/resolve/resolv.conf"
)

// Host reads those of the host's files that a source needs, below a root, which is "/" but in tests. Files that are not there stay
// nil. A hosts file can have megabytes, where it blocks advertisements; only host networking has to read it.
func Host(root string, source registration.Source) (registration.HostFiles, error) {
	var h registration.HostFiles
	wanted := map[string]*[]byte{resolvConf: &h.ResolvConf, resolvedConf: &h.ResolvedConf}
	if source == registration.Host {
		wanted = map[string]*[]byte{resolvConf: &h.ResolvConf, hostname: &h.Hostname, hosts: &h.Hosts}
	}
	for path, to := range wanted {
		data, err := os.ReadFile(filepath.Join(root, path))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return h, fault.Wrap(err, fault.Unavailable, "the host's /"+path, "cannot be read")
		}
		*to = data
	}
	return h, nil
}
