// Package files writes the name files of containers to a directory of the run-time root, and reads
// those of the host.
//
// The files are bind-mounted into containers, and a mount refers to an inode. So an existing file
// is written in place and never replaced. A container can change size, mode and lease of its files:
// they are never read, and writing never waits for the container. Package registration renders the
// contents.
package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
)

const (
	fileMode = 0o644 // readable by every user of a container
	dirMode  = 0o711 // searchable by mapped users, without listing containers
)

// The files of one owner, in its directory.
const (
	hostnameFile   = "hostname"
	hostsFile      = "hosts"
	resolvConfFile = "resolv.conf"
)

// Publisher writes one directory per owner, with three files in each.
type Publisher struct{ root string }

// NewPublisher returns a publisher for the directory root.
func NewPublisher(root string) Publisher { return Publisher{root} }

// Paths holds the paths of an owner's files.
type Paths struct{ Hostname, Hosts, ResolvConf string }

// Paths returns the paths of an owner's files, which need not exist.
func (f Publisher) Paths(owner string) Paths {
	dir := filepath.Join(f.root, owner)
	return Paths{filepath.Join(dir, hostnameFile), filepath.Join(dir, hostsFile), filepath.Join(dir, resolvConfFile)}
}

// Write creates an owner's directory with all three files. Existing files are written in place, as a
// running container can have them mounted.
func (f Publisher) Write(owner string, c registration.Contents) error {
	return f.each(owner, func(dir *Dir) error {
		return errors.Join(dir.create(hostnameFile, c.Hostname), dir.create(hostsFile, c.Hosts),
			dir.create(resolvConfFile, c.ResolvConf))
	})
}

// Restore writes those of the files that are missing. Existing files keep what a container wrote into them.
func (f Publisher) Restore(owner string, c registration.Contents) error {
	return f.each(owner, func(dir *Dir) error {
		return errors.Join(dir.restore(hostnameFile, c.Hostname), dir.restore(hostsFile, c.Hosts),
			dir.restore(resolvConfFile, c.ResolvConf))
	})
}

func (f Publisher) each(owner string, write func(*Dir) error) error {
	err := os.MkdirAll(filepath.Join(f.root, owner), dirMode)
	if err == nil {
		var dir *Dir
		if dir, err = f.Open(owner); err == nil {
			err = errors.Join(write(dir), dir.Close())
		}
	}
	if err != nil {
		return fault.New(fault.Unavailable, registration.Subject(owner), "cannot write its name files",
			fault.WithCause(err),
			fault.WithHint("check for a full or read-only file system at %s", f.root))
	}

	return nil
}

// staleMark follows the owner in the name of the file that marks its name files as older than the store.
const staleMark = ".stale"

// MarkStale records that the files of an owner must be written again, also by the next process.
func (f Publisher) MarkStale(owner string) error {
	return os.WriteFile(filepath.Join(f.root, owner+staleMark), nil, 0o600)
}

// Stale reports whether an owner's files are older than the store.
func (f Publisher) Stale(owner string) bool {
	_, err := os.Lstat(filepath.Join(f.root, owner+staleMark))
	return err == nil
}

// MarkFresh removes the mark. It does nothing if there is none.
func (f Publisher) MarkFresh(owner string) error {
	err := os.Remove(filepath.Join(f.root, owner+staleMark))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Remove removes the files and the directory of an owner. It does nothing if the directory does not
// exist. A mount point is kept for the supervisor, which unmounts it.
func (f Publisher) Remove(owner string) error {
	path := filepath.Join(f.root, owner)
	dir, err := f.Open(owner)
	if err == nil {
		err = errors.Join(dir.clear(), dir.Close())
	}

	if !errors.Is(err, fs.ErrNotExist) {
		err = os.RemoveAll(path)
	}
	if errors.Is(err, unix.EBUSY) || f.mounted(path) || errors.Is(err, fs.ErrNotExist) {
		err = nil
	}

	return fault.Wrap(errors.Join(err, f.MarkFresh(owner)), fault.Unavailable, registration.Subject(owner),
		"cannot remove its name files")
}

// mounted reports whether a directory below the root is a mount point.
func (f Publisher) mounted(path string) bool {
	var root, dir unix.Stat_t
	return unix.Stat(f.root, &root) == nil && unix.Lstat(path, &dir) == nil && root.Dev != dir.Dev
}

// Owners returns the owners that have a directory, sorted. It creates the root if necessary and
// ignores names that are not container IDs.
func (f Publisher) Owners() ([]string, error) {
	if err := os.MkdirAll(f.root, dirMode); err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "directory "+f.root, "cannot be created")
	}

	entries, err := os.ReadDir(f.root)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "directory "+f.root, "cannot be read")
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

// ReadHostFiles reads the host files that a source needs, below root, which is "/" except in tests.
// Missing files are nil. The hosts file, which can have megabytes, is read only for host
// networking.
func ReadHostFiles(root string, source registration.FileSource) (registration.HostFiles, error) {
	var h registration.HostFiles
	wanted := map[string]*[]byte{resolvConf: &h.ResolvConf, resolvedConf: &h.ResolvedConf}
	if source == registration.Host {
		wanted = map[string]*[]byte{resolvConf: &h.ResolvConf, hostname: &h.Hostname, hosts: &h.Hosts}
	}

	for path, to := range wanted {
		data, err := os.ReadFile(filepath.Join(root, path))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return h, fault.Wrap(err, fault.Unavailable, "host file /"+path, "cannot be read")
		}
		*to = data
	}

	return h, nil
}
