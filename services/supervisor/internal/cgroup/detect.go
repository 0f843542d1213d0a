package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
)

// Detect returns the host's layout. It checks that cgroups can be created by creating and removing
// one.
func Detect(ctx context.Context) (Layout, error) {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return Layout{}, broken("cannot be detected", err, "mount /proc")
	}

	l, err := parse(string(info))
	if err != nil {
		return l, broken("are not usable", err, "mount cgroup2 at %s, or boot with systemd", root)
	}

	controllers, err := l.v2controllers()
	if err != nil {
		return l, broken("cannot be read", err, "check the mount of %s", l.V2)
	}
	if l.Mode == Hybrid {
		l.V2Controllers = controllers
	}

	if m := l.missing(controllers); len(m) > 0 {
		return l, broken("do not have the controller "+strings.Join(m, ", "), nil,
			"add cgroup_enable=%s to the kernel's command line, or mount it", m[0])
	}

	files, err := l.probe(ctx)
	if err != nil {
		return l, err
	}

	l.Features = l.detectFeatures(files, controllers)
	return l, nil
}

func broken(message string, cause error, hint string, args ...any) error {
	return fault.New(fault.Unavailable, "cgroups", message, fault.WithCause(cause), fault.WithHint(hint, args...))
}

// v2controllers returns the controllers of the v2 hierarchy.
func (l Layout) v2controllers() ([]string, error) {
	if l.V2 == "" {
		return nil, nil
	}
	b, err := os.ReadFile(filepath.Join(l.V2, "cgroup.controllers"))
	return strings.Fields(string(b)), err
}

// CheckCrun returns why crun does not support the layout, or nil if it does. runc supports all
// layouts.
func (l Layout) CheckCrun() error {
	if len(l.V2Controllers) == 0 {
		return nil
	}
	c := l.V2Controllers[0]
	return broken(fmt.Sprintf("have the controller %s in the v2 hierarchy of a hybrid layout, "+
		"which crun does not support",
		strings.Join(l.V2Controllers, ", ")), nil,
		"mkdir -p %[1]s/%[2]s && mount -t cgroup -o %[2]s cgroup %[1]s/%[2]s; "+
			"or boot with cgroup v2 only; or install runc", root, c)
}

// probe creates a cgroup in each hierarchy and removes it. It returns the names of their files.
func (l Layout) probe(ctx context.Context) (files []string, err error) {
	for _, dir := range l.dirs("fairlead-probe-" + id.Short(id.New())) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		err := os.Mkdir(dir, 0o755)
		files = append(files, names(dir)...)
		if err := errors.Join(err, ignoreMissing(os.Remove(dir))); err != nil {
			return nil, broken("cannot be created", err, "run the agent as root, with %s mounted read-write",
				filepath.Dir(dir))
		}
	}
	return files, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
