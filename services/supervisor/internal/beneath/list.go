package beneath

import (
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// List returns the sorted names in a directory. It follows no symlink.
func (r *Root) List(name string) (names []string, err error) {
	how := &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(r.fd, relative(name), how)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	d := os.NewFile(uintptr(fd), name)
	defer func() { _ = d.Close() }()
	names, err = d.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// IsOpaque reports whether a directory hides the lower ones of an overlay.
func (r *Root) IsOpaque(name string) bool {
	opaque := false
	_ = r.withDir(name, func(fd int) error {
		value := make([]byte, 1)
		n, err := unix.Fgetxattr(fd, "trusted.overlay.opaque", value)
		opaque = err == nil && n == 1 && value[0] == 'y'
		return nil
	})
	return opaque
}
