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

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
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
	Resources container.Resources
	// BlockDevices are the block devices that Resources names, by path.
	BlockDevices map[string]DeviceNumber
	Mounts       []Mount
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

	Ulimits     []container.Ulimit
	OOMScoreAdj *int // nil means the host's
}

// Mount is a bind mount of a host path.
type Mount struct {
	Source, Target string
	ReadOnly       bool
	Propagation    string // see mount_namespaces(7), such as "rslave"; empty means rprivate
	File           bool   // Source is not a directory
}

// Build returns the specification of a container.
func Build(o Options) (*specs.Spec, error) {
	s := &specs.Spec{
		Version:  ociVersion,
		Process:  o.Process.build(o.Host, o.Hostname),
		Root:     &specs.Root{Path: o.Rootfs},
		Hostname: o.Hostname,
		Mounts:   o.mounts(),
		Linux:    o.linux(),
	}
	if o.HostUTS {
		s.Hostname = ""
	}

	profile, err := seccomp.GetDefaultProfile(s)
	if err != nil {
		return nil, fault.New(fault.Internal, "seccomp", "cannot create the default profile", fault.WithCause(err))
	}

	s.Linux.Seccomp = profile
	return s, nil
}

// ExecProcess returns the process of an exec in a container with a hostname.
func ExecProcess(h Host, p Process, hostname string) *specs.Process { return p.build(h, hostname) }

func (p Process) build(h Host, hostname string) *specs.Process {
	out := &specs.Process{
		Terminal:     p.TTY,
		Args:         p.Args,
		Env:          p.env(hostname),
		Cwd:          "/",
		User:         specs.User{UID: p.User.UID, GID: p.User.GID, AdditionalGids: p.User.Groups},
		Capabilities: capabilities(h, p.User.UID),
		OOMScoreAdj:  cmp.Or(p.OOMScoreAdj, &h.OOMScoreAdj),
		Rlimits:      rlimits(p.Ulimits),
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
	r := Limits(o.Resources, o.PidsLimit, o.BlockDevices)
	r.Devices = deviceRules()
	return r
}

func (o *Options) linux() *specs.Linux {
	return &specs.Linux{
		Namespaces:        o.namespaces(),
		Sysctl:            o.Sysctls,
		CgroupsPath:       o.CgroupPath,
		Resources:         o.resources(),
		MaskedPaths:       slices.Concat(maskedPaths(), o.Host.ThermalThrottle),
		ReadonlyPaths:     []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		RootfsPropagation: o.rootfsPropagation(),
	}
}

// namespaces returns private namespaces, except those shared with the host. A cgroup namespace is
// used with cgroup v2 only, as in Docker.
func (o *Options) namespaces() []specs.LinuxNamespace {
	out := []specs.LinuxNamespace{{Type: specs.MountNamespace}, {Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}}
	if !o.HostUTS {
		out = append(out, specs.LinuxNamespace{Type: specs.UTSNamespace})
	}
	if o.NetNS != "" {
		out = append(out, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: o.NetNS})
	}
	if o.Host.CgroupV2 {
		out = append(out, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	return out
}
