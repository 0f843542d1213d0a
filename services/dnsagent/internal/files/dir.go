package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
)

// Dir is one owner's directory. It stays the same directory when another is created or mounted at its path.
type Dir struct{ fd int }

// Open opens an owner's directory. The caller closes it.
func (f Publisher) Open(owner string) (*Dir, error) {
	path := filepath.Join(f.root, owner)
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &Dir{fd}, nil
}

// Close closes the directory.
func (d *Dir) Close() error { return unix.Close(d.fd) }

// Publish writes the files whose contents are not nil and returns those that it could not write. It
// never waits for a process of the container: a file with a lease cannot be written now.
func (d *Dir) Publish(c registration.Contents) (left registration.Contents, err error) {
	for _, f := range []struct {
		name     string
		data     []byte
		leftover *[]byte
	}{
		{hostsFile, c.Hosts, &left.Hosts}, // first: shrinking an overfull file frees space for the others
		{resolvConfFile, c.ResolvConf, &left.ResolvConf},
		{hostnameFile, c.Hostname, &left.Hostname},
	} {
		if f.data == nil {
			continue
		}
		if werr := d.write(f.name, f.data); werr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", f.name, werr))
			*f.leftover = f.data
		}
	}

	return left, err
}

// create writes a file, and replaces one that cannot be written. No container of this registration
// has it mounted yet.
func (d *Dir) create(name string, data []byte) error {
	if d.write(name, data) == nil {
		return nil
	}
	if err := d.unlink(name); err != nil {
		return err
	}
	return d.write(name, data)
}

// restore writes a file that does not exist.
func (d *Dir) restore(name string, data []byte) error {
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); !errors.Is(err, unix.ENOENT) {
		return err
	}
	return d.write(name, data)
}

// clear removes the files.
func (d *Dir) clear() error {
	return errors.Join(d.unlink(hostnameFile), d.unlink(hostsFile), d.unlink(resolvConfFile))
}

// write writes a file and keeps the inode of an existing one. It replaces anything but a regular
// file.
func (d *Dir) write(name string, data []byte) error {
	var st unix.Stat_t
	err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = d.unlink(name)
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}

	fd, err := d.open(name)
	switch {
	case errors.Is(err, unix.EACCES) && unix.Fchmodat(d.fd, name, fileMode, 0) == nil,
		errors.Is(err, unix.EPERM) && d.clearFlags(name) == nil:
		fd, err = d.open(name) // root in the container removed the permission
	}
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}

	return errors.Join(fill(fd, data), unix.Close(fd))
}

// open opens a file for writing. It fails with EAGAIN, without waiting, if a process of the
// container has a lease on the file.
func (d *Dir) open(name string) (int, error) {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	for {
		fd, err := unix.Openat(d.fd, name, flags, fileMode)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// clearFlags removes the immutable and append-only flags of a file.
func (d *Dir) clearFlags(name string) error {
	fd, err := unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	const immutable, appendOnly = 0x10, 0x20 // FS_IMMUTABLE_FL, FS_APPEND_FL
	flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(flags&^(immutable|appendOnly)))
	}
	return errors.Join(err, unix.Close(fd))
}

// fill writes data and truncates the file afterwards, if it was longer, so that readers never see
// it empty.
func fill(fd int, data []byte) error {
	var before unix.Stat_t
	if err := unix.Fstat(fd, &before); err != nil {
		return err
	}

	for at := 0; at < len(data); {
		n, err := unix.Pwrite(fd, data[at:], int64(at))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		at += n
	}

	if before.Size > int64(len(data)) {
		if err := unix.Ftruncate(fd, int64(len(data))); err != nil {
			return fmt.Errorf("truncate: %w", err)
		}
	}

	if before.Mode&0o7777 != fileMode {
		_ = unix.Fchmod(fd, fileMode) // independent of the umask; fails harmlessly if the container changed the owner
	}

	return nil
}

// unlink removes a directory entry, including an empty directory.
func (d *Dir) unlink(name string) error {
	err := unix.Unlinkat(d.fd, name, 0)
	switch {
	case errors.Is(err, unix.EISDIR):
		err = unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR)
	case errors.Is(err, unix.EPERM) && d.clearFlags(name) == nil:
		err = unix.Unlinkat(d.fd, name, 0)
	}
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
