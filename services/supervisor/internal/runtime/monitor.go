package runtime

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/procstat"
)

// endMonitor kills the monitor of a container without a process, and the monitor's children. A
// runtime that is still creating the container would otherwise continue and leave untracked
// resources. Most monitors have already exited.
func (d *Driver) endMonitor(uid string) {
	pid, err := procstat.ReadPID(filepath.Join(d.bundle(uid), monitorPidFile))
	if err != nil {
		return
	}

	p, err := openProcess(pid)
	if err != nil {
		return
	}
	defer p.close()
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !bytes.Contains(args, []byte("\x00"+uid+"\x00")) {
		return // the PID was reused
	}
	if d.exitKnown(uid) && p.waitFor(killTime) {
		return // it recorded the exit and has now exited itself
	}

	deadline := time.Now().Add(killTime)
	_ = p.signal(syscall.SIGSTOP) // a stopped process starts no children
	for p.alive() && !procstat.IsStopped(pid) && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}

	for endChildren(pid) && time.Now().Before(deadline) { // orphaned grandchildren become its children
		continue
	}

	_ = p.signal(syscall.SIGKILL)
	p.waitFor(killTime)
}

// endChildren kills a process's children. It reports whether any of them was alive.
func endChildren(pid int) (some bool) {
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return false // the process has exited
	}

	for _, text := range strings.Fields(string(list)) {
		child, err := strconv.Atoi(text)
		if err != nil {
			continue
		}
		p, err := openProcess(child)
		if err != nil {
			continue
		}
		if p.alive() {
			some = true
			_ = p.signal(syscall.SIGKILL)
			p.waitFor(killTime)
		}
		p.close()
	}

	return some
}
