package beneath

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// Usage returns the bytes that the files below the root occupy on its disk. A file with several links
// is counted once, a directory not at all, as in Docker. Directories nested too deeply are left out, so
// the number of descriptors is bounded.
func (r *Root) Usage(ctx context.Context) (int64, error) {
	u := usage{ctx: ctx, seen: map[[2]uint64]bool{}}
	fd, err := unix.Openat(r.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, errors.Join(err, unix.Close(fd))
	}
	u.dev = st.Dev
	err = errors.Join(u.directory(fd, 0), unix.Close(fd))
	return u.total, err
}

const maxUsageDepth = 512

type usage struct {
	ctx   context.Context
	dev   uint64
	total int64
	seen  map[[2]uint64]bool
}

func (u *usage) directory(fd, depth int) error {
	if _, err := unix.Seek(fd, 0, 0); err != nil {
		return err
	}
	buf := make([]byte, 32<<10)
	for {
		if err := u.ctx.Err(); err != nil {
			return err
		}
		n, err := unix.ReadDirent(fd, buf)
		if err != nil || n <= 0 {
			return err
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			if err := u.entry(fd, name, depth); err != nil {
				return err
			}
		}
	}
}

func (u *usage) entry(dir int, name string, depth int) error {
	var st unix.Stat_t
	if unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Dev != u.dev {
		return nil // removed meanwhile, or another file system
	}
	if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		key := [2]uint64{st.Dev, st.Ino}
		if u.seen[key] {
			return nil
		}
		u.seen[key] = true
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		u.total += st.Blocks * 512
		return nil
	}
	if depth >= maxUsageDepth {
		return nil
	}

	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil // removed meanwhile
	}
	return errors.Join(u.directory(fd, depth+1), unix.Close(fd))
}
