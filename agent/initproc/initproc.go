// Package initproc finds the init processes of containers by their cgroups, which are named after
// the containers. It needs no files of an agent, so it works after all state is lost.
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

// All returns the init processes of all containers of the host, by container: the process that was
// started first in the container's cgroup. It includes containers of other agents.
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
		// the process has exited, or is not in a container
		case errors.Is(err, fs.ErrNotExist) || err == nil && owner == "":
		case err != nil:
			return nil, err
		case !known || p.Started < have.Started:
			found[owner] = p
		}
	}
	return found, nil
}

// read returns the container of a process. owner is empty if the process is not in a container or
// has exited.
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

// gone converts the exit of a process during a read to fs.ErrNotExist.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), "no such process") {
		return fs.ErrNotExist
	}
	return err
}

// ownerIn returns the container in the lines of proc_pid_cgroup:
// HIERARCHY:CONTROLLERS:/fairlead/ID. The path can continue if the container has cgroups of its
// own.
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

// startIn returns the start time and the state in proc_pid_stat.
func startIn(stat string) (started uint64, state string, ok bool) {
	i := strings.LastIndex(stat, ") ") // after the name, which can contain spaces and parentheses
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
