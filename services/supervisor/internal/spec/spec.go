// Package spec builds the OCI runtime specification of a container. It combines Docker's defaults
// with the user's options. Package run calls it. It starts nothing.
//
// Build performs no I/O, except for the seccomp profile, which depends on the kernel version.
// DetectHost detects the limits of the host and of the agent's privileges once.
package spec

import (
	"cmp"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/resource"
	"github.com/fairlead/fairlead/services/supervisor/internal/users"
)

// ociVersion is not the latest: crun 1.8.1 of Debian 12 rejects versions above 1.0.
const ociVersion = "1.0.2"

// defaultPath is Docker's default PATH.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Options describe a container for the OCI runtime.
type Options struct {
	Host Host

	Process  Process
	Rootfs   string
	Hostname string
	HostUTS  bool // use the host's UTS namespace and hostname
	// NetNS is the path of the network namespace; empty means the host's.
	NetNS string
	// CgroupPath is the container's cgroup.
	CgroupPath string
	// PidsLimit limits processes and threads unless Resources does; 0 means unlimited.
	PidsLimit int64
	Resources resource.Limits
	// BlockDevices are the block devices that Resources names, by path.
	BlockDevices    map[string]DeviceNumber
	Mounts          []Mount
	Security        container.Security
	SecurityOptions container.SecurityOptions // of Security
	DefaultSeccomp  string                    // profile without an option; empty means Docker's
	Devices         []DeviceNode
	Namespaces      container.Namespaces
	PIDNamespace    string // path of the PID namespace to join
	IPCNamespace    string // path of the IPC namespace to join
	SharedMemory    string // directory of the host to mount at /dev/shm; empty means a new tmpfs
	Init            string // init program of the host; empty means none
	InitTarget      string // where Init is mounted
	Annotations     map[string]string

	// Sysctls are kernel parameters of the container's own namespaces.
	Sysctls map[string]string
	// The host's files to mount as /etc/hostname, /etc/hosts and /etc/resolv.conf; each may be
	// empty.
	HostnameFile, HostsFile, ResolvConfFile string
}

// Process describes a program and its environment.
type Process struct {
	Args       []string
	Env        []string // of the image and the user, KEY=VALUE, each key once
	WorkingDir string   // empty means /
	User       users.User
	TTY        bool
	Rows, Cols uint16 // initial terminal size; zero means unknown

	Ulimits     []resource.Ulimit
	OOMScoreAdj *int // nil means the host's

	Security        container.Security
	SecurityOptions container.SecurityOptions // of Security
}

// Mount is a bind mount of a host path, or a tmpfs.
type Mount struct {
	Source, Target string
	ReadOnly       bool
	Propagation    string // see mount_namespaces(7), such as "rslave"; empty means rprivate
	File           bool   // Source is not a directory
	NonRecursive   bool   // without the mounts below Source

	Tmpfs   bool
	Size    int64    // bytes of a tmpfs; 0 means the default of the kernel
	Mode    *uint32  // of the root directory of a tmpfs; nil means 01777
	Options []string // other mount options of a tmpfs
}

// Build returns the specification of a container.
func Build(o Options) (*specs.Spec, error) {
	o.Process.Security, o.Process.SecurityOptions = o.Security, o.SecurityOptions
	s := &specs.Spec{
		Version:     ociVersion,
		Process:     o.Process.build(o.Host, o.Hostname),
		Root:        &specs.Root{Path: o.Rootfs, Readonly: o.Security.ReadOnly},
		Hostname:    o.Hostname,
		Mounts:      o.mounts(),
		Linux:       o.linux(),
		Annotations: o.Annotations,
	}
	if o.HostUTS {
		s.Hostname = ""
	}
	if o.Init != "" {
		s.Process.Args = append([]string{InitPath, "--"}, s.Process.Args...)
	}

	var err error
	s.Linux.Seccomp, err = o.seccomp(s)
	return s, err
}

// InitPath is the path of the init process in a container.
const InitPath = "/sbin/docker-init"

// ExecProcess returns the process of an exec in a container with a hostname.
func ExecProcess(h Host, p Process, hostname string) *specs.Process { return p.build(h, hostname) }

func (p Process) build(h Host, hostname string) *specs.Process {
	out := &specs.Process{
		Terminal:     p.TTY,
		Args:         p.Args,
		Env:          p.env(hostname),
		Cwd:          "/",
		User:         specs.User{UID: p.User.UID, GID: p.User.GID, AdditionalGids: p.User.Groups},
		Capabilities: capabilities(h, &p.Security, p.User.UID),
		OOMScoreAdj:  cmp.Or(p.OOMScoreAdj, &h.OOMScoreAdj),
		Rlimits:      rlimits(p.Ulimits),
	}
	if nnp := p.SecurityOptions.NoNewPrivileges; nnp != nil {
		out.NoNewPrivileges = *nnp
	}
	if profile := p.SecurityOptions.AppArmor; profile != container.Unconfined {
		out.ApparmorProfile = profile
	}
	if p.WorkingDir != "" {
		out.Cwd = p.WorkingDir
	}
	if p.TTY && p.Rows > 0 && p.Cols > 0 {
		out.ConsoleSize = &specs.Box{Height: uint(p.Rows), Width: uint(p.Cols)}
	}

	return out
}

// env returns Docker's defaults, overridden by the variables of the image and the user.
func (p Process) env(hostname string) []string {
	set := map[string]bool{}
	for _, e := range p.Env {
		key, _, _ := strings.Cut(e, "=")
		set[key] = true
	}

	defaults := []string{defaultPath, "HOSTNAME=" + hostname}
	if p.TTY {
		defaults = append(defaults, "TERM=xterm")
	}
	if p.User.Home != "" {
		defaults = append(defaults, "HOME="+p.User.Home)
	}

	defaults = slices.DeleteFunc(defaults, func(e string) bool {
		key, _, _ := strings.Cut(e, "=")
		return set[key]
	})
	return append(defaults, p.Env...)
}

func (o *Options) resources() *specs.LinuxResources {
	return Limits(o.Resources, o.PidsLimit, o.BlockDevices)
}

func (o *Options) linux() *specs.Linux {
	l := &specs.Linux{
		Namespaces:        o.namespaces(),
		Sysctl:            o.Sysctls,
		CgroupsPath:       o.CgroupPath,
		Resources:         o.resources(),
		RootfsPropagation: o.rootfsPropagation(),
	}
	l.Devices, l.Resources.Devices = o.devices()
	if !o.Security.Privileged && o.SecurityOptions.SystemPaths != container.Unconfined {
		l.MaskedPaths = slices.Concat(maskedPaths(), o.Host.ThermalThrottle)
		l.ReadonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
	}
	return l
}

// namespaces returns private namespaces, except those that are shared. A private cgroup namespace is
// the default with cgroup v2 only, as in Docker.
func (o *Options) namespaces() []specs.LinuxNamespace {
	out := []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	if o.Namespaces.PID != container.HostNamespace {
		out = append(out, specs.LinuxNamespace{Type: specs.PIDNamespace, Path: o.PIDNamespace})
	}
	if o.Namespaces.IPC != container.HostNamespace {
		out = append(out, specs.LinuxNamespace{Type: specs.IPCNamespace, Path: o.IPCNamespace})
	}
	if !o.HostUTS {
		out = append(out, specs.LinuxNamespace{Type: specs.UTSNamespace})
	}
	if o.NetNS != "" {
		out = append(out, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: o.NetNS})
	}
	mode := o.Namespaces.Cgroup
	if mode == container.PrivateNamespace || mode == "" && o.Host.CgroupV2 {
		out = append(out, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	return out
}
