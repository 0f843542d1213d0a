package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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

// Root returns the path on the machine of a path of the host.
func (l *Lab) Root(path string) string { return fmt.Sprintf("/proc/%d/root%s", l.Pid(), path) }
