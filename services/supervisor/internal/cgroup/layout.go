// Package cgroup detects the host's cgroup layout, and manages the cgroups of containers. It kills,
// thaws and removes them. It sets no limits: the OCI runtime does. Package runtime calls it.
//
// Containers get the cgroup /fairlead/<id> in every hierarchy, created by the OCI runtime's
// cgroupfs driver. It is outside of the agent's cgroup, so that a restart of the agent's unit, or a
// limit on it, does not affect containers. systemd does not touch cgroups that it did not create.
package cgroup

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Mode is a type of layout.
type Mode int

// The types of layout.
const (
	V1     Mode = iota + 1 // one hierarchy for each controller
	Hybrid                 // as V1, with a v2 hierarchy for the controllers not used by v1
	V2                     // one hierarchy
)

func (m Mode) String() string {
	return map[Mode]string{V1: "v1", Hybrid: "hybrid", V2: "v2"}[m]
}

// DefaultParent is the parent cgroup of all containers.
const DefaultParent = "/fairlead"

// Layout describes the host's cgroups.
type Layout struct {
	Mode          Mode
	Mounts        []string // mount points of the hierarchies; in V2 the only one
	V2            string   // where the v2 hierarchy is mounted; empty in V1
	V2Controllers []string // in Hybrid, the controllers of the v2 hierarchy
	Parent        string   // parent cgroup of containers, with a leading slash
	Features      Features // limits that the kernel supports
}

// Path returns a container's cgroup in the form of the OCI specification.
func (l Layout) Path(uid string) string { return l.Parent + "/" + uid }

// Below returns the layout with another parent cgroup of containers. Empty means the same.
func (l Layout) Below(parent string) Layout {
	if parent != "" {
		l.Parent = filepath.Clean("/" + parent)
	}
	return l
}

// dirs returns the directories of a cgroup, one for each hierarchy.
func (l Layout) dirs(name string) []string {
	out := make([]string, 0, len(l.Mounts))
	for _, m := range l.Mounts {
		out = append(out, filepath.Join(m, name))
	}
	return out
}

const root = "/sys/fs/cgroup"

// parse parses the layout from /proc/self/mountinfo, see proc_pid_mountinfo(5).
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

// required are the controllers needed to isolate containers. In v2, device access needs none.
var required = map[Mode][]string{V1: {"devices", "memory", "pids"}, Hybrid: {"devices", "memory", "pids"},
	V2: {"memory", "pids"}}

// missing returns the required controllers that do not exist. V1 controllers are found by the names
// of their mount points, such as "cpu,cpuacct".
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
