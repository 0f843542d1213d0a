package runtime

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/procstat"
)

// process is a process held by a pidfd, so that its PID cannot be reused unnoticed.
type process struct {
	pid int
	f   *os.File
}

// openProcess opens a living process. It returns os.ErrProcessDone if the process has ended.
func openProcess(pid int) (*process, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return nil, os.ErrProcessDone
	}
	if err != nil {
		return nil, fmt.Errorf("pidfd_open %d: %w", pid, err)
	}
	return &process{pid, os.NewFile(uintptr(fd), "pidfd")}, nil
}

// openProcessOf opens the living process with a PID and start time.
func openProcessOf(pid int, started uint64) (*process, error) {
	p, err := openProcess(pid)
	if err != nil {
		return nil, err
	}
	if now, err := procstat.StartTime(pid); err != nil || now != started || !p.alive() {
		p.close()
		return nil, os.ErrProcessDone
	}
	return p, nil
}

// wait waits until the process has ended. It returns false after close. It blocks no thread.
func (p *process) wait() bool {
	conn, err := p.f.SyscallConn()
	if err != nil {
		return false
	}
	return conn.Read(func(fd uintptr) bool { return readable(fd) }) == nil
}

// waitFor is wait with a time limit.
func (p *process) waitFor(limit time.Duration) bool {
	if err := p.f.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return false
	}
	return p.wait()
}

func (p *process) alive() bool {
	alive := false
	if conn, err := p.f.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { alive = !readable(fd) })
	}
	return alive
}

// readable reports whether the process of a pidfd has ended.
func readable(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0
}

// isEnding reports whether a process has ended, or begins to within a time limit. An init process
// ends long after it has been killed, as it waits for all others of its namespace.
func (p *process) isEnding(limit time.Duration) bool {
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		if !p.alive() || procstat.IsExiting(p.pid) {
			return true
		}
		if !time.Now().Before(end) {
			return false
		}
	}
}

// endingTime is the time until a process that was killed begins to end.
const endingTime = 100 * time.Millisecond

func (p *process) signal(sig syscall.Signal) error {
	conn, err := p.f.SyscallConn()
	if err != nil {
		return os.ErrProcessDone
	}

	var serr error
	if err := conn.Control(func(fd uintptr) { serr = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); err != nil {
		return os.ErrProcessDone
	}
	if errors.Is(serr, unix.ESRCH) {
		return os.ErrProcessDone
	}

	return serr
}

func (p *process) close() { _ = p.f.Close() }
