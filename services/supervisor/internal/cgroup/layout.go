// Package cgroup knows which cgroup layout the host has, where containers belong in it, and how to end and remove what is there. It
// sets no limits: the OCI runtime does.
//
// Containers get the cgroup /fairlead/<id> in every hierarchy, made by the OCI runtime's own file system driver. It lies
// outside of the agent's cgroup on purpose: a restart of the agent's unit, or a limit on it, must not reach the containers. systemd leaves cgroups
// alone that it did not make.
package cgroup

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Mode is the kind of layout.
type Mode int

// The kinds.
const (
	V1     Mode = iota + 1 // controllers in hierarchies of their own
	Hybrid                 // the same, and a v2 hierarchy beside them, without controllers or with those that v1 does not use
	V2                     // one hierarchy
)

func (m Mode) String() string {
	return map[Mode]string{V1: "v1", Hybrid: "hybrid", V2: "v2"}[m]
}

// DefaultParent is what all containers are under.
const DefaultParent = "/fairlead"

// Layout is the host's cgroups.
type Layout struct {
	Mode          Mode
	Mounts        []string // where the hierarchies are mounted; in V2 the only one
	V2            string   // where the v2 hierarchy is mounted; empty in V1
	V2Controllers []string // in Hybrid, the controllers that are still on the v2 side
	Parent        string   // what containers go under, with a leading slash
}

// Path is a container's cgroup as the OCI specification wants it.
func (l Layout) Path(uid string) string { return l.Parent + "/" + uid }

// dirs are the folders of a cgroup, one for each hierarchy.
func (l Layout) dirs(name string) []string {
	out := make([]string, 0, len(l.Mounts))
	for _, m := range l.Mounts {
		out = append(out, filepath.Join(m, name))
	}
	return out
}

const root = "/sys/fs/cgroup"

// parse reads the layout from /proc/self/mountinfo, see proc_pid_mountinfo(5).
func parse(mountinfo string) (Layout, error) {
	l := Layout{Parent: DefaultParent}
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		fields, types := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(types) < 1 {
			continue
		}
		point := fields[4]
		inRoot := point == root || strings.HasPrefix(point, root+"/")
		switch {
		case !inRoot:
		case types[0] == "cgroup2":
			l.V2 = point
			l.add(point)
		case types[0] == "cgroup":
			l.add(point)
		}
	}
	switch {
	case len(l.Mounts) == 0:
		return l, fmt.Errorf("nothing is mounted below %s", root)
	case l.V2 == root:
		l.Mode, l.Mounts = V2, []string{root}
	case l.V2 != "" && len(l.Mounts) > 1:
		l.Mode = Hybrid
	case l.V2 == "":
		l.Mode = V1
	default:
		return l, fmt.Errorf("cgroup v2 is mounted at %s; it must be at %s", l.V2, root)
	}
	return l, nil
}

func (l *Layout) add(point string) {
	if !slices.Contains(l.Mounts, point) {
		l.Mounts = append(l.Mounts, point)
	}
}

// required are the controllers without which a container cannot be told from its neighbours, in v1 and in v2. In v2 device access needs
// none.
var required = map[Mode][]string{V1: {"devices", "memory", "pids"}, Hybrid: {"devices", "memory", "pids"}, V2: {"memory", "pids"}}

// missing gives the controllers that are required and not there. V1's controllers are known by their mounts' names, "cpu,cpuacct".
func (l Layout) missing(v2controllers []string) []string {
	have := v2controllers
	if l.Mode != V2 {
		have = nil
		for _, m := range l.Mounts {
			have = append(have, strings.Split(filepath.Base(m), ",")...)
		}
	}
	return slices.DeleteFunc(slices.Clone(required[l.Mode]), func(c string) bool { return slices.Contains(have, c) })
}
