package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Features are the limits that the kernel supports in the mounted hierarchies.
type Features struct {
	Swap, Swappiness, Reservation, OOMKillDisable bool
	CPUShares, CPUQuota, Cpuset                   bool
	BlkioWeight, BlkioWeightDevice, BlkioThrottle bool

	CPUs, Mems string // available to containers, as lists
}

// Names returns the limits that can be enforced, as GetInfo reports them. Memory and the number of
// processes always can, as Detect requires them.
func (f Features) Names() []string {
	names := []string{"memory", "pids"}
	for _, limit := range []struct {
		name      string
		supported bool
	}{{"swap", f.Swap}, {"cpu-shares", f.CPUShares}, {"cpu-quota", f.CPUQuota}, {"cpuset", f.Cpuset},
		{"oom-kill-disable", f.OOMKillDisable}} {
		if limit.supported {
			names = append(names, limit.name)
		}
	}
	return names
}

// featuresV1 returns the features of the v1 hierarchies, given the files of a cgroup.
func featuresV1(has func(file string) bool) Features {
	return Features{
		Swap: has("memory.memsw.limit_in_bytes"), Swappiness: has("memory.swappiness"),
		Reservation: has("memory.soft_limit_in_bytes"), OOMKillDisable: has("memory.oom_control"),
		CPUShares: has("cpu.shares"), CPUQuota: has("cpu.cfs_quota_us"), Cpuset: has("cpuset.cpus"),
		BlkioWeight:       has("blkio.weight") || has("blkio.bfq.weight"),
		BlkioWeightDevice: has("blkio.weight_device") || has("blkio.bfq.weight_device"),
		BlkioThrottle:     has("blkio.throttle.read_bps_device"),
	}
}

// featuresV2 returns the features of the v2 hierarchy. Swappiness and the suspension of processes
// without memory exist in v1 only.
func featuresV2(controllers []string, swap, weight, weightDevice bool) Features {
	have := func(name string) bool { return slices.Contains(controllers, name) }
	return Features{
		Swap: swap, Reservation: have("memory"),
		CPUShares: have("cpu"), CPUQuota: have("cpu"), Cpuset: have("cpuset"),
		BlkioWeight: have("io") && weight, BlkioWeightDevice: have("io") && weightDevice, BlkioThrottle: have("io"),
	}
}

// detectFeatures returns the features, given the files of a new cgroup in all hierarchies.
func (l Layout) detectFeatures(files []string, controllers []string) Features {
	has := func(file string) bool { return slices.Contains(files, file) }
	if l.Mode != V2 {
		f := featuresV1(has)
		f.CPUs, f.Mems = l.available("cpuset", "cpuset.effective_cpus"), l.available("cpuset", "cpuset.effective_mems")
		return f
	}

	for _, dir := range l.children() { // the probed cgroup lacks the files of controllers that no cgroup uses yet
		for _, name := range []string{"memory.max", "memory.swap.max", "io.max", "io.weight", "io.bfq.weight"} {
			if exists(filepath.Join(dir, name)) {
				files = append(files, name)
			}
		}
	}
	// Without any cgroup to look at, the kernel decides.
	swap := has("memory.swap.max") || !has("memory.max") && exists("/proc/swaps")
	weight := has("io.weight") || has("io.bfq.weight") || !has("io.max")
	f := featuresV2(controllers, swap, weight, has("io.weight") || !has("io.max"))
	f.CPUs, f.Mems = read(filepath.Join(root, "cpuset.cpus.effective")), read(filepath.Join(root,
		"cpuset.mems.effective"))
	return f
}

// available returns the content of a file at the root of a v1 hierarchy.
func (l Layout) available(controller, file string) string {
	for _, m := range l.Mounts {
		if slices.Contains(strings.Split(filepath.Base(m), ","), controller) {
			return read(filepath.Join(m, file))
		}
	}
	return ""
}

// children returns the cgroups below the root of the v2 hierarchy.
func (l Layout) children() []string {
	entries, err := os.ReadDir(l.V2)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, filepath.Join(l.V2, e.Name()))
		}
	}
	return out
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func read(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// names returns the names of the files in a directory.
func names(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	out := make([]string, 0, len(entries))
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}
