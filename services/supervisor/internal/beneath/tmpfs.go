package beneath

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// EmptyTmpfs returns the descriptor of a new file system in memory that is not attached anywhere. It is
// empty and read-only. The kernel removes it with its last descriptor and mount. No mode means 1777.
func EmptyTmpfs(mode *uint32) (int, error) {
	permissions := uint32(0o1777)
	if mode != nil {
		permissions = *mode
	}
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("fsopen", err)
	}
	defer func() { _ = unix.Close(fs) }()
	err = errors.Join(unix.FsconfigSetString(fs, "mode", fmt.Sprintf("%o", permissions)), unix.FsconfigCreate(fs))
	if err != nil {
		return -1, os.NewSyscallError("fsconfig", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|
		unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	return fd, os.NewSyscallError("fsmount", err)
}
