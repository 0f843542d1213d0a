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
	Pid  int // as the host counts
	Name string
}

func (p Process) String() string { return fmt.Sprintf("%s (%d)", p.Name, p.Pid) }

// Processes are the host's, its first one left out and those of containers included.
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

// Root is where the outer machine finds a path of the host.
func (l *Lab) Root(path string) string { return fmt.Sprintf("/proc/%d/root%s", l.Pid(), path) }
