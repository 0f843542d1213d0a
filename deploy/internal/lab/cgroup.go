package lab

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// parent is the cgroup above all cgroups of the agent.
const parent = "fairlead"

// mountHugetlb completes a v1 or hybrid cgroup layout. crun rejects a layout whose v2 side has a
// controller, which hugetlb often is. A v2 layout needs nothing. The mounts of the machine are not
// changed.
func mountHugetlb() error {
	const point = "/sys/fs/cgroup/hugetlb"
	var root unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &root); err != nil || root.Type == unix.CGROUP2_SUPER_MAGIC {
		return err
	}

	controllers, err := os.ReadFile("/proc/cgroups")
	if err != nil || !strings.Contains(string(controllers), "\nhugetlb\t") {
		return err
	}

	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), "hugetlb") {
		return err
	}

	if err := os.MkdirAll(point, 0o755); err != nil {
		return err
	}

	if err := unix.Mount("cgroup", point, "cgroup", 0, "hugetlb"); err != nil {
		return fmt.Errorf("mount %s: %w", point, err)
	}

	return nil
}

// cgroupsInUse returns the cgroups below parent that contain processes of the host.
func cgroupsInUse() []string {
	var names []string
	files, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // the process has exited
		}
		for line := range strings.Lines(string(data)) {
			if _, path, ok := strings.Cut(line, ":/"+parent+"/"); ok {
				name, _, _ := strings.Cut(strings.TrimSpace(path), "/")
				names = append(names, name)
			}
		}
	}

	return names
}

// agentCgroup returns the name of the cgroup that an agent creates for itself.
func agentCgroup(dir string) string {
	sum := sha256.Sum256([]byte(filepath.Join(dir, execRoot)))
	return fmt.Sprintf("agent-%x", sum[:4])
}

// removeCgroups removes cgroups with their descendants from every hierarchy, and their parent if it
// is empty.
func removeCgroups(names []string) error {
	roots, err := filepath.Glob("/sys/fs/cgroup/*/" + parent)
	if err != nil {
		return err
	}

	var errs []error
	for _, root := range append(roots, "/sys/fs/cgroup/"+parent) {
		for _, name := range names {
			errs = append(errs, removeTree(filepath.Join(root, name)))
		}
		_ = os.Remove(root)
	}

	return errors.Join(errs...)
}

// removeTree removes a cgroup bottom-up and waits briefly for killed processes.
func removeTree(dir string) error {
	children, _ := filepath.Glob(dir + "/*/")
	for _, child := range children {
		if err := removeTree(filepath.Clean(child)); err != nil {
			return err
		}
	}

	for range 100 {
		err := unix.Rmdir(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}

	return fmt.Errorf("cgroup %s can't be removed", dir)
}
