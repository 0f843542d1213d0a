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

// Detect finds the host's layout, and tries that containers' cgroups can be made. It leaves nothing behind.
func Detect(ctx context.Context) (Layout, error) {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return Layout{}, broken("cannot be found out", err, "mount /proc")
	}
	l, err := parse(string(info))
	if err != nil {
		return l, broken("cannot be used", err, "mount cgroup2 at %s, or boot with systemd, which does", root)
	}
	controllers, err := l.v2controllers()
	if err != nil {
		return l, broken("cannot be read", err, "check the mount of %s", l.V2)
	}
	if l.Mode == Hybrid {
		l.V2Controllers = controllers
	}
	if m := l.missing(controllers); len(m) > 0 {
		return l, broken("lack the controller "+strings.Join(m, ", "), nil,
			"add cgroup_enable=%s to the kernel's command line, or mount it", m[0])
	}
	if err := l.try(ctx); err != nil {
		return l, err
	}
	return l, nil
}

func broken(message string, cause error, hint string, args ...any) error {
	return fault.New(fault.Unavailable, "cgroups", message, fault.WithCause(cause), fault.WithHint(hint, args...))
}

// v2controllers are those that the v2 hierarchy has.
func (l Layout) v2controllers() ([]string, error) {
	if l.V2 == "" {
		return nil, nil
	}
	b, err := os.ReadFile(filepath.Join(l.V2, "cgroup.controllers"))
	return strings.Fields(string(b)), err
}

// CheckCrun tells why a crun cannot work with the layout, which runc can; nil if it can.
func (l Layout) CheckCrun() error {
	if len(l.V2Controllers) == 0 {
		return nil
	}
	c := l.V2Controllers[0]
	return broken(fmt.Sprintf("are mixed: the controller %s is on the v2 side of a hybrid layout, which crun refuses", strings.Join(l.V2Controllers, ", ")), nil,
		"mkdir -p %[1]s/%[2]s && mount -t cgroup -o %[2]s cgroup %[1]s/%[2]s; or boot with cgroup v2 alone; or install runc", root, c)
}

// try makes a cgroup in each hierarchy and removes it.
func (l Layout) try(ctx context.Context) error {
	for _, dir := range l.dirs("fairlead-try-" + id.Short(id.New())) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := errors.Join(os.Mkdir(dir, 0o755), ignoreMissing(os.Remove(dir))); err != nil {
			return broken("cannot be made", err, "run the agent as root, with %s mounted read-write", filepath.Dir(dir))
		}
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
