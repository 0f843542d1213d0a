package process

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
)

// Pidfile is a file that holds this process's id.
type Pidfile struct{ path string }

// WritePidfile creates it, unless a process lives whose id it already holds: that is a Busy fault. After any other error there is no
// pidfile, which prevents nothing: the locks keep a second agent away.
func WritePidfile(path string) (*Pidfile, error) {
	subject := "pidfile " + path
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(err, fault.Unavailable, subject, "cannot be read")
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	if pid > 0 && pid != os.Getpid() && isAlive(pid) {
		return nil, fault.New(fault.Busy, subject, "process "+strconv.Itoa(pid)+processName(strconv.Itoa(pid))+" lives",
			fault.WithHint("stop it, or remove the file if that is not an agent, or name another with --pidfile"))
	}
	next := path + ".new"
	if err := os.WriteFile(next, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
		return nil, fault.Wrap(errors.Join(err, removeIfThere(next)), fault.Unavailable, subject, "cannot be written")
	}
	if err := os.Rename(next, path); err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, subject, "cannot be written")
	}
	return &Pidfile{filepath.Clean(path)}, nil
}

func removeIfThere(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// isAlive reports whether a process runs. A zombie has ended; only its parent has not asked for its exit status yet.
func isAlive(pid int) bool {
	if err := unix.Kill(pid, 0); err != nil && !errors.Is(err, unix.EPERM) {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH)
	}
	return !ended(string(stat))
}

// ended reads the state, field 3 of /proc/PID/stat; see proc_pid_stat(5). The process's name before it may hold anything.
func ended(stat string) bool {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	return len(fields) > 0 && (fields[0] == "Z" || fields[0] == "X")
}

// Remove removes it.
func (p *Pidfile) Remove() error { return os.Remove(p.path) }
