package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Process is a process of the host.
type Process struct {
	Pid  int // in the host's PID namespace
	Name string
}

func (p Process) String() string { return fmt.Sprintf("%s (%d)", p.Name, p.Pid) }

// Processes returns the processes of the host, including containers, without its init process.
func (l *Lab) Processes() []Process {
	var all []Process
	entries, _ := filepath.Glob(l.Root("/proc/[0-9]*"))
	for _, dir := range entries {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if name, err := os.ReadFile(dir + "/comm"); err == nil && pid != 1 {
			all = append(all, Process{pid, strings.TrimSpace(string(name))})
		}
	}
	return all
}

// Kill kills the host's processes with the given names.
func (l *Lab) Kill(ctx context.Context, names ...string) error {
	args := []string{"-KILL"}
	for _, p := range l.Processes() {
		if slices.Contains(names, p.Name) {
			args = append(args, strconv.Itoa(p.Pid))
		}
	}
	_, err := l.Host.Output(ctx, "kill", args...) // in the PID namespace of the host
	return err
}

// CPU returns the processor time of the host's processes with the given names. Processes that have
// exited do not count.
func (l *Lab) CPU(names ...string) time.Duration {
	var all time.Duration
	for _, p := range l.Processes() {
		if slices.Contains(names, p.Name) {
			took, _ := cpuOf(l.Root(fmt.Sprintf("/proc/%d/stat", p.Pid)))
			all += took
		}
	}
	return all
}

// cpuOf returns the processor time in a stat file of /proc.
func cpuOf(path string) (time.Duration, error) {
	const ticks = 100 // ticks per second: USER_HZ is 100 on every Linux
	stat, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}

	_, rest, _ := strings.Cut(string(stat), ") ") // after the name, which can contain spaces
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0, fmt.Errorf("%s: %q", path, stat)
	}
	var all time.Duration
	for _, field := range f[11:13] { // utime and stime
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		all += time.Duration(n) * time.Second / ticks
	}
	return all, nil
}

// Memory returns the proportional set size in bytes of the host's processes with the given names, and
// their number.
func (l *Lab) Memory(names ...string) (size int64, count int) {
	for _, p := range l.Processes() {
		if !slices.Contains(names, p.Name) {
			continue
		}
		data, err := os.ReadFile(l.Root(fmt.Sprintf("/proc/%d/smaps_rollup", p.Pid)))
		if err != nil {
			continue // exited
		}
		for line := range strings.Lines(string(data)) {
			if f := strings.Fields(line); len(f) == 3 && f[0] == "Pss:" {
				kb, _ := strconv.ParseInt(f[1], 10, 64)
				size += kb * 1024
			}
		}
		count++
	}
	return size, count
}

// Root returns the path on the machine of a path of the host.
func (l *Lab) Root(path string) string { return fmt.Sprintf("/proc/%d/root%s", l.Pid(), path) }
