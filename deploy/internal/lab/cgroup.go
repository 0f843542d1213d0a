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

// parent is the cgroup that the agent keeps all others in.
const parent = "fairlead"

// mountHugetlb completes a v1 or hybrid cgroup layout: crun refuses one in which the v2 side still has a controller, and this one is
// often left there. A pure v2 layout needs nothing, and the machine's own mounts are not touched.
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

// cgroupsInUse are the names below parent of the cgroups that the host's processes are in.
func cgroupsInUse() []string {
	var names []string
	files, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
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

// agentCgroup is the name of the one that an agent makes for itself.
func agentCgroup(dir string) string {
	sum := sha256.Sum256([]byte(filepath.Join(dir, execRoot)))
	return fmt.Sprintf("agent-%x", sum[:4])
}

// removeCgroups removes cgroups, with what is in them, from every hierarchy, and their parent if nobody else has something there.
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

// removeTree removes a cgroup from the leaves up, and waits a little for processes that were killed to leave.
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
