package runtime

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/agent/initproc"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/procstat"
)

// rebuildRecord restores the lost record of a running container from its process. It returns unread
// if there is no such process. It does not restore the OCI runtime's state: the container can be
// stopped and removed, but exec fails.
func (d *Driver) rebuildRecord(uid string, unread error) (record, error) {
	all, err := initproc.All()
	if err != nil {
		return record{}, err
	}

	p, runs := all[uid]
	if !runs || starting(p.PID, uid) {
		return record{}, unread
	}

	r := record{Runtime: d.programs.Default().Path, PID: p.PID, Started: p.Started}
	if monitor, started, ok := monitorOf(p.PID, uid); ok {
		r.Monitor, r.MonitorStarted = monitor, started
	}

	if err := os.MkdirAll(d.bundle(uid), 0o700); err != nil {
		return record{}, err
	}

	if err := r.write(d.bundle(uid)); err != nil {
		return record{}, err
	}

	pid := []byte(strconv.Itoa(r.Monitor))
	if err := os.WriteFile(filepath.Join(d.bundle(uid), monitorPidFile), pid, 0o600); err != nil {
		return record{}, err
	}

	d.cfg.Log.Warn("files of running container lost, recovered from its process", "container", uid, "pid", p.PID)
	return r, nil
}

// starting reports whether a process is still the OCI runtime's init, which waits for Start.
func starting(pid int, uid string) bool {
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	comm, cerr := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return err != nil || cerr != nil || bytes.Contains(args, []byte(uid)) || bytes.HasPrefix(comm, []byte("runc:["))
}

// monitorOf returns the monitor of a container. That is the parent of its init process, with the
// container ID among its arguments.
func monitorOf(pid int, uid string) (monitor int, started uint64, ok bool) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, false
	}

	for line := range strings.Lines(string(status)) {
		if text, found := strings.CutPrefix(line, "PPid:"); found {
			monitor, _ = strconv.Atoi(strings.TrimSpace(text))
		}
	}

	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", monitor))
	if err != nil || !bytes.Contains(args, []byte("\x00"+uid+"\x00")) {
		return 0, 0, false
	}

	started, err = procstat.StartTime(monitor)
	return monitor, started, err == nil
}
