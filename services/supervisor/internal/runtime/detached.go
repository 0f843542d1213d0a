package runtime

import (
	"errors"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// reapTime limits the time until the host's init process reaps an orphan. An init process that
// polls may take seconds.
const reapTime = 5 * time.Second

// awaitDetached waits for the end of a process that is not a child of the agent.
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

// pidfdInfo is struct pidfd_info of linux/pidfd.h.
type pidfdInfo struct {
	mask     uint64
	_        [13]uint32 // cgroup, process and user IDs
	exitCode int32      // wait status
}

const (
	pidfdGetInfo  = 0xc040ff0b // PIDFD_GET_INFO
	pidfdInfoExit = 1 << 3     // PIDFD_INFO_EXIT
)

// exitCode returns the exit code of a process that has ended. ok is false if the kernel does not
// report it in time or at all (before Linux 6.15).
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
