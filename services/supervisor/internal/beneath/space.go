package beneath

import "golang.org/x/sys/unix"

// The space that writers leave free on a file system, because a full one stops the agent too: one part in
// spareShare of its bytes and inodes, but at most spareBytes.
const (
	spareShare = 50
	spareBytes = 64 << 20
)

// Spare returns ENOSPC if the root's file system has less free space or inodes than the reserve.
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
