package state

import (
	"errors"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
)

// reserved is the disk space that a store allocates when it is opened, so that commits succeed on a
// full disk until it is used. It is enough for about 10,000 records.
const reserved = 8 << 20

// reserve allocates blocks for the growth of a store without changing its size. A commit overwrites
// free pages or appends, so it needs no other space. Copy-on-write file systems give no guarantee.
func reserve(path string, log *slog.Logger) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, reserved)
		err = errors.Join(err, f.Close())
	}
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		log.Warn("cannot reserve disk space for state", "path", path, "bytes", reserved, "error", err)
	}
}
