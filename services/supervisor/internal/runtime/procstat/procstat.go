// Package procstat reads the state of processes from /proc, and their PID files. Package runtime uses
// it. It signals no process.
package procstat

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// fields returns the fields of /proc/PID/stat from field 3, the state, on; see proc_pid_stat(5). Field 2,
// the program's name, can contain parentheses.
func fields(pid int) ([]string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	return parse(string(stat))
}

// parse requires as many fields as there are up to the start time.
func parse(stat string) ([]string, error) {
	out := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(out) < 20 {
		return nil, fmt.Errorf("process status %q: too few fields", stat)
	}
	return out, nil
}

// StartTime returns the start time of a process in clock ticks since boot.
func StartTime(pid int) (uint64, error) {
	all, err := fields(pid)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(all[19], 10, 64)
}

// State returns the state of a process, a letter. It is empty if the process does not exist.
func State(pid int) string {
	all, err := fields(pid)
	if err != nil {
		return ""
	}
	return all[0]
}

// IsStopped reports whether a process is stopped.
func IsStopped(pid int) bool { return State(pid) == "T" }

// IsExiting reports whether the kernel has begun to end a process, or it does not exist.
func IsExiting(pid int) bool {
	const pfExiting = 0x4 // linux/sched.h
	all, err := fields(pid)
	if err != nil {
		return true
	}
	flags, err := strconv.ParseUint(all[6], 10, 64)
	return err == nil && flags&pfExiting != 0
}

// ReadPID reads a PID file.
func ReadPID(path string) (int, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 0 {
		return 0, fmt.Errorf("%s: %q is not a process ID", path, b)
	}
	return pid, nil
}
