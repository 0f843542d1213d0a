package runtime

import (
	"errors"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// reapTime is how long the machine's init may take to take note of a process's end: at once where it waits, and some seconds where it looks
// now and then.
const reapTime = 5 * time.Second

// awaitDetached waits for the end of a process that is no child of anybody here.
func (s *ExecSession) awaitDetached() {
	s.code, s.exitUnknown = unknownCode, true
	if p := s.process; p != nil && p.wait() {
		if code, ok := p.exitCode(reapTime); ok {
			s.code, s.exitUnknown = code, false
		}
		p.close()
	}
	close(s.exited)
}

// pidfdInfo is what the kernel tells of a process; see pidfd_info in its linux/pidfd.h.
type pidfdInfo struct {
	mask     uint64
	_        [13]uint32 // its cgroup, and who it was
	exitCode int32      // as wait gives it
}

const (
	pidfdGetInfo  = 0xc040ff0b // PIDFD_GET_INFO
	pidfdInfoExit = 1 << 3     // PIDFD_INFO_EXIT
)

// exitCode answers how a process has ended; false if the kernel does not know within a time, or cannot be asked.
func (p *process) exitCode(within time.Duration) (code int, ok bool) {
	conn, err := p.f.SyscallConn()
	if err != nil {
		return 0, false
	}
	for deadline := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		info := pidfdInfo{mask: pidfdInfoExit}
		var errno syscall.Errno
		if err := conn.Control(func(fd uintptr) {
			_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, pidfdGetInfo, uintptr(unsafe.Pointer(&info)))
		}); err != nil {
			return 0, false
		}
		if errno == 0 && info.mask&pidfdInfoExit != 0 {
			status := syscall.WaitStatus(info.exitCode)
			if status.Signaled() {
				return 128 + int(status.Signal()), true
			}
			return status.ExitStatus(), true
		}
		if errno != 0 && !errors.Is(errno, unix.ESRCH) || time.Now().After(deadline) {
			return 0, false
		}
	}
}
