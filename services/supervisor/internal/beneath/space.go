package beneath

import "golang.org/x/sys/unix"

// What a file system keeps free for everything else on it, as one part in so many, and in bytes at most.
const (
	spareShare = 50
	spareBytes = 64 << 20
)

// Spare returns an ENOSPC error if the root's file system has less room than it must keep free, in bytes or in inodes.
func (r *Root) Spare() error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(r.fd, &st); err != nil {
		return err
	}
	block := uint64(st.Bsize)
	if st.Bavail*block < min(spareBytes, st.Blocks*block/spareShare) || st.Files > 0 && st.Ffree < st.Files/spareShare {
		return unix.ENOSPC
	}
	return nil
}
