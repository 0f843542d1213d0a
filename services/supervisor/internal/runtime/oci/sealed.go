package oci

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Executable returns the path to execute a runtime by.
//
// crun protects its file against a container that overwrites it (CVE-2019-5736) by executing a copy
// of itself. It skips the copy if it already runs from a sealed file in memory. Keeping one sealed
// copy saves one execution in each launch and exec. If the copy cannot be created, crun's own path
// is returned.
func (r *Program) Executable() string {
	if r.Flavor != Crun {
		return r.Path
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	var now unix.Stat_t
	if unix.Stat(r.Path, &now) != nil {
		return r.Path
	}

	if r.sealed == nil || now.Ino != r.source.Ino || now.Dev != r.source.Dev || now.Mtim != r.source.Mtim ||
		now.Size != r.source.Size {
		if r.sealed != nil {
			_ = r.sealed.Close()
		}
		r.sealed, r.source = seal(r.Path), now
	}

	if r.sealed == nil {
		return r.Path
	}

	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), r.sealed.Fd())
}

func (r *Program) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sealed != nil {
		_ = r.sealed.Close()
		r.sealed = nil
	}
}

// seal copies a program to a sealed file in memory. It returns nil on failure.
func seal(path string) *os.File {
	src, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = src.Close() }()
	fd, err := unix.MemfdCreate(path, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil
	}

	mem := os.NewFile(uintptr(fd), path)
	defer func() { _ = mem.Close() }() // a file with a writable descriptor cannot be executed
	if _, err := io.Copy(mem, src); err != nil {
		return nil
	}

	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(mem.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil
	}

	ro, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return nil
	}

	return ro
}
