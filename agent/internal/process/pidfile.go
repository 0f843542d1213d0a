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

// Pidfile is a file with the ID of this process.
type Pidfile struct{ path string }

// WritePidfile creates a PID file. A Busy fault means that the process in an existing file is
// alive. After any other error the agent can start without a PID file, because the locks prevent a
// second agent.
func WritePidfile(path string) (*Pidfile, error) {
	subject := "pidfile " + path
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(err, fault.Unavailable, subject, "cannot be read")
	}

	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	if pid > 0 && pid != os.Getpid() && isAlive(pid) {
		return nil, fault.New(fault.Busy, subject,
			"process "+strconv.Itoa(pid)+processName(strconv.Itoa(pid))+" is running",
			fault.WithHint("stop it, remove the file if it is not an agent, or use another --pidfile"))
	}

	next := path + ".new"
	if err := os.WriteFile(next, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
		return nil, fault.Wrap(errors.Join(err, removeIfExists(next)), fault.Unavailable, subject, "cannot be written")
	}
	if err := os.Rename(next, path); err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, subject, "cannot be written")
	}
	return &Pidfile{filepath.Clean(path)}, nil
}

func removeIfExists(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// isAlive reports whether a process is running. A zombie is not.
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

// ended reports whether the state in /proc/PID/stat (field 3) is that of an exited process. The
// name before it can contain any character. See proc_pid_stat(5).
func ended(stat string) bool {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	return len(fields) > 0 && (fields[0] == "Z" || fields[0] == "X")
}

// Remove removes the file.
func (p *Pidfile) Remove() error { return os.Remove(p.path) }
