package spec

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// mounts returns the standard mounts, then the user's, then the name files and the init program.
// With a read-only root file system, the mounts of the agent are read-only too, except those that
// belong to the container alone.
func (o *Options) mounts() []specs.Mount {
	out := o.standardMounts()
	for _, m := range o.Mounts {
		out = append(out, m.build(o.Host))
	}

	for _, f := range []Mount{
		{Source: o.ResolvConfFile, Target: "/etc/resolv.conf"},
		{Source: o.HostnameFile, Target: "/etc/hostname"},
		{Source: o.HostsFile, Target: "/etc/hosts"},
	} {
		if f.Source != "" && !o.mounted(f.Target) {
			f.File, f.ReadOnly = true, o.Security.ReadOnly
			out = append(out, f.build(o.Host))
		}
	}

	if o.Init != "" {
		out = append(out, Mount{Source: o.Init, Target: o.InitTarget, File: true, ReadOnly: true}.build(o.Host))
	}

	return out
}

// mounted reports whether the user mounts something at target.
func (o *Options) mounted(target string) bool {
	return slices.ContainsFunc(o.Mounts, func(m Mount) bool { return m.Target == target })
}

func (o *Options) standardMounts() []specs.Mount {
	mount := func(target, kind, source string, options ...string) specs.Mount {
		return specs.Mount{Destination: target, Type: kind, Source: source, Options: options}
	}
	access := "ro"
	if o.Security.Privileged {
		access = "rw"
	}

	out := []specs.Mount{
		mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
		mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
		mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
		mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", access),
		mount("/sys/fs/cgroup", "cgroup", "cgroup", access, "nosuid", "noexec", "nodev"),
		mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
	}
	switch {
	case o.Namespaces.IPC == container.IPCNone || o.mounted("/dev/shm"):
	case o.SharedMemory != "":
		out = append(out, mount("/dev/shm", "bind", o.SharedMemory, "rbind", "nosuid", "noexec", "nodev"))
	default:
		out = append(out, mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777",
			"size="+strconv.FormatInt(cmp.Or(o.Resources.ShmSize, container.StandardShmSize), 10)))
	}
	return out
}

// build returns a bind mount. A read-only directory is recursively read-only if the kernel supports
// it. A file has no mounts below it, and crun before 1.9 rejects the recursive option for one.
func (m Mount) build(h Host) specs.Mount {
	if m.Tmpfs {
		return m.buildTmpfs()
	}
	options := []string{"rbind", "rw"}
	if m.NonRecursive {
		options[0] = "bind"
	}
	if m.ReadOnly {
		options[1] = "ro"
		if !m.File && !m.NonRecursive && h.RecursiveReadOnly {
			options = append(options, "rro")
		}
	}
	options = append(options, cmp.Or(m.Propagation, "rprivate"))
	return specs.Mount{Destination: m.Target, Type: "bind", Source: m.Source, Options: options}
}

// buildTmpfs returns a tmpfs mount with Docker's default options. An option replaces its opposite.
func (m Mount) buildTmpfs() specs.Mount {
	options := []string{}
	for _, o := range []string{"noexec", "nosuid", "nodev"} {
		if !slices.Contains(m.Options, o[2:]) && !slices.Contains(m.Options, o) {
			options = append(options, o)
		}
	}
	options = append(options, m.Options...)
	if m.ReadOnly {
		options = append(options, "ro")
	}
	if m.Size > 0 {
		options = append(options, "size="+strconv.FormatInt(m.Size, 10))
	}
	if m.Mode != nil {
		options = append(options, "mode="+strconv.FormatUint(uint64(*m.Mode), 8))
	}
	return specs.Mount{Destination: m.Target, Type: "tmpfs", Source: "tmpfs", Options: options}
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
