package testcgroup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

func mountProc() error {
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

// mountHierarchies mounts the cgroup v1 hierarchies of the host on a tmpfs of this namespace. It
// moves the hugetlb controller from v2 to v1, because crun rejects a hybrid layout with controllers
// in v2. It does nothing on a host with cgroup v2 only.
func mountHierarchies() error {
	old, err := hierarchies()
	if err != nil || len(old) == 0 {
		return err
	}

	const root = "/sys/fs/cgroup"
	if err := unix.Unmount(root, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", root, err)
	}

	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if err := unix.Mount("cgroup", root, "tmpfs", flags, "mode=755"); err != nil {
		return fmt.Errorf("mount %s: %w", root, err)
	}

	for _, h := range old {
		if err := errors.Join(os.Mkdir(filepath.Join(root, h.name), 0o755), h.mount(root)); err != nil {
			return fmt.Errorf("mount cgroup hierarchy %s: %w", h.name, err)
		}
	}
	return nil
}

// hierarchy is one cgroup mount below /sys/fs/cgroup.
type hierarchy struct{ name, fstype, options string }

func (h hierarchy) mount(root string) error {
	return unix.Mount(h.fstype, filepath.Join(root, h.name), h.fstype, 0, h.options)
}

// hierarchies returns the cgroup mounts of a host with cgroup v1 or a hybrid layout, and none for
// cgroup v2 only.
func hierarchies() ([]hierarchy, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}

	all, hugetlb := []hierarchy{}, false
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		name, ok := strings.CutPrefix(f[1], "/sys/fs/cgroup/")
		if !ok || (f[2] != "cgroup" && f[2] != "cgroup2") {
			continue
		}
		options := strings.Split(f[3], ",")
		kept := options[:0]
		for _, o := range options {
			if f[2] == "cgroup" && o != "rw" && o != "ro" && o != "relatime" && !strings.HasPrefix(o, "no") {
				kept = append(kept, o)
			}
		}
		hugetlb = hugetlb || strings.Contains(name, "hugetlb")
		all = append(all, hierarchy{name, f[2], strings.Join(kept, ",")})
	}

	subsystems, err := os.ReadFile("/proc/cgroups")
	if err != nil {
		return nil, err
	}
	if len(all) > 0 && !hugetlb && bytes.Contains(subsystems, []byte("\nhugetlb\t")) {
		all = append(all, hierarchy{"hugetlb", "cgroup", "hugetlb"})
	}
	return all, nil
}
