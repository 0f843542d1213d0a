// Package initproc finds the init processes of containers by their cgroups, which are named for the containers and are in the kernel as
// long as the processes. It needs no file of an agent, so it finds them after all of those were lost.
package initproc

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/proto/id"
)

// Process is the init process of a container.
type Process struct {
	PID     int
	Started uint64 // in clock ticks since the boot, as in proc_pid_stat(5)
}

// All returns the init processes of all containers of the host, by container: of the processes in its cgroup, the one that was started
// first. Those of other agents are among them.
func All() (map[string]Process, error) { return in("/proc") }

func in(proc string) (map[string]Process, error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, err
	}
	found := map[string]Process{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		owner, p, err := read(filepath.Join(proc, e.Name()), pid)
		switch have, known := found[owner]; {
		case errors.Is(err, fs.ErrNotExist) || err == nil && owner == "": // it has ended, or is not in a container
		case err != nil:
			return nil, err
		case !known || p.Started < have.Started:
			found[owner] = p
		}
	}
	return found, nil
}

// read returns the container of a process, empty if it is in none, or has ended.
func read(dir string, pid int) (owner string, p Process, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup"))
	if err != nil {
		return "", p, gone(err)
	}
	if owner = ownerIn(string(text)); owner == "" {
		return "", p, nil
	}
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return "", p, gone(err)
	}
	started, state, ok := startIn(string(stat))
	if !ok || state == "Z" || state == "X" {
		return "", p, nil
	}
	return owner, Process{pid, started}, nil
}

// gone makes the end of a process while it is read no error.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), "no such process") {
		return fs.ErrNotExist
	}
	return err
}

// ownerIn finds the container in the lines of proc_pid_cgroup: HIERARCHY:CONTROLLERS:/fairlead/ID, with more below in a container that
// has cgroups of its own.
func ownerIn(text string) string {
	for line := range strings.Lines(text) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		_, where, _ := strings.Cut(rest, ":")
		for dir := path.Clean("/" + where); dir != "/"; dir = path.Dir(dir) {
			if id.Valid(path.Base(dir)) {
				return path.Base(dir)
			}
		}
	}
	return ""
}

// startIn finds the start time and the state in proc_pid_stat.
func startIn(stat string) (started uint64, state string, ok bool) {
	i := strings.LastIndex(stat, ") ") // behind the name, which can have spaces and brackets
	if i < 0 {
		return 0, "", false
	}
	fields := strings.Fields(stat[i+2:])
	if len(fields) < 20 {
		return 0, "", false
	}
	started, err := strconv.ParseUint(fields[19], 10, 64)
	return started, fields[0], err == nil
}
