package spec

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// mounts returns the standard mounts, then the user's, then the name files.
func (o *Options) mounts() []specs.Mount {
	out := standardMounts(o.Resources.ShmSize)
	for _, m := range o.Mounts {
		out = append(out, m.build(o.Host))
	}

	for _, f := range []Mount{
		{Source: o.ResolvConfFile, Target: "/etc/resolv.conf"},
		{Source: o.HostnameFile, Target: "/etc/hostname"},
		{Source: o.HostsFile, Target: "/etc/hosts"},
	} {
		if f.Source != "" && !o.mounted(f.Target) {
			out = append(out, f.build(o.Host))
		}
	}

	return out
}

// mounted reports whether the user mounts something at target.
func (o *Options) mounted(target string) bool {
	return slices.ContainsFunc(o.Mounts, func(m Mount) bool { return m.Target == target })
}

func standardMounts(shmSize int64) []specs.Mount {
	mount := func(target, kind, source string, options ...string) specs.Mount {
		return specs.Mount{Destination: target, Type: kind, Source: source, Options: options}
	}
	return []specs.Mount{
		mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
		mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
		mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
		mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
		mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro", "nosuid", "noexec", "nodev"),
		mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
		mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777",
			"size="+strconv.FormatInt(cmp.Or(shmSize, container.StandardShmSize), 10)),
	}
}

// build returns a bind mount. A read-only directory is recursively read-only if the kernel supports
// it. A file has no mounts below it, and crun before 1.9 rejects the recursive option for one.
func (m Mount) build(h Host) specs.Mount {
	options := []string{"rbind", "rw"}
	if m.ReadOnly {
		options[1] = "ro"
		if !m.File && h.RecursiveReadOnly {
			options = append(options, "rro")
		}
	}
	options = append(options, cmp.Or(m.Propagation, "rprivate"))
	return specs.Mount{Destination: m.Target, Type: "bind", Source: m.Source, Options: options}
}

// rootfsPropagation returns the weakest propagation that the mounts allow. A shared or slave mount
// needs at least the same propagation of the root.
func (o *Options) rootfsPropagation() string {
	out := ""
	for _, m := range o.Mounts {
		switch m.Propagation {
		case "shared", "rshared":
			return "shared"
		case "slave", "rslave":
			out = "rslave"
		}
	}
	return out
}
