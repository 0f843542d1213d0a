package state

import (
	"errors"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
)

// reserved is what a store has of the disk from its start, written or not: on a full disk commits go on until it is used up. It is
// enough for about 10,000 records.
const reserved = 8 << 20

// reserve allocates blocks for the growth of a store without changing its size. A commit overwrites free pages or appends: both need
// no more of a disk that one container has filled. File systems that copy on write give no guarantee.
func reserve(path string, log *slog.Logger) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, reserved)
		err = errors.Join(err, f.Close())
	}
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		log.Warn("no disk space reserved for a store", "path", path, "bytes", reserved, "error", err)
	}
}
