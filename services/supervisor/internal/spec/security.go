package spec

import (
	"os"
	"slices"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// defaultCapabilities returns Docker's default capabilities.
func defaultCapabilities() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
		"CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
		"CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
	}
}

// capabilities returns the container's capabilities that the agent has itself. Only for root they
// are effective: other users get them from file capabilities, as after any execve(2).
func capabilities(h Host, sec *container.Security, uid uint32) *specs.LinuxCapabilities {
	caps := slices.DeleteFunc(sec.Capabilities(defaultCapabilities()),
		func(c string) bool { return slices.Contains(h.MissingCapabilities, c) })
	if uid != 0 {
		return &specs.LinuxCapabilities{Bounding: caps}
	}
	return &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
}

// DeviceNode is a device node of the container.
type DeviceNode struct {
	Path, Type   string
	Major, Minor int64
	Mode         uint32
	UID, GID     uint32
	Access       string // of r, w and m
}

// devices returns the device nodes, and the access rules with those of the user.
func (o *Options) devices() ([]specs.LinuxDevice, []specs.LinuxDeviceCgroup) {
	var nodes []specs.LinuxDevice
	rules := deviceRules()
	if o.Security.Privileged {
		rules = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
	}

	for _, d := range o.Devices {
		mode := os.FileMode(d.Mode)
		nodes = append(nodes, specs.LinuxDevice{Path: d.Path, Type: d.Type, Major: d.Major, Minor: d.Minor,
			FileMode: &mode, UID: &d.UID, GID: &d.GID})
		if !o.Security.Privileged {
			rules = append(rules, specs.LinuxDeviceCgroup{Allow: true, Type: d.Type, Major: &d.Major, Minor: &d.Minor,
				Access: d.Access})
		}
	}

	for _, text := range o.Security.DeviceRules {
		if r, ok := container.ParseDeviceRule(text); ok && !o.Security.Privileged {
			rule := specs.LinuxDeviceCgroup{Allow: true, Type: r.Type, Access: r.Access}
			if r.Major >= 0 {
				rule.Major = &r.Major
			}
			if r.Minor >= 0 {
				rule.Minor = &r.Minor
			}
			rules = append(rules, rule)
		}
	}

	return nodes, rules
}

// seccomp returns the profile of the container; nil if it is unconfined.
func (o *Options) seccomp(s *specs.Spec) (*specs.LinuxSeccomp, error) {
	profile := o.SecurityOptions.Seccomp
	if profile == "" && !o.Security.Privileged {
		profile = o.DefaultSeccomp
	}
	switch {
	case profile == container.Unconfined, profile == "" && o.Security.Privileged:
		return nil, nil
	case profile != "" && profile != container.Builtin:
		return LoadSeccomp(profile, s)
	}

	standard, err := seccomp.GetDefaultProfile(s)
	if err != nil {
		return nil, fault.New(fault.Internal, "seccomp", "cannot create the default profile", fault.WithCause(err))
	}
	return standard, nil
}

// LoadSeccomp parses a seccomp profile in Docker's format for the capabilities of a specification.
func LoadSeccomp(profile string, s *specs.Spec) (*specs.LinuxSeccomp, error) {
	out, err := seccomp.LoadProfile(profile, s)
	if err != nil {
		return nil, fault.New(fault.Invalid, "seccomp", "the profile is not valid", fault.WithField("security-opt"),
			fault.WithCause(err), fault.WithHint("write a profile in Docker's JSON format, or use seccomp=unconfined"))
	}
	return out, nil
}

// deviceRules returns Docker's rules: any device node can be created, only harmless ones can be
// opened. OCI runtimes add rules for the terminal.
func deviceRules() []specs.LinuxDeviceCgroup {
	rule := func(kind string, major, minor int64, access string) specs.LinuxDeviceCgroup {
		d := specs.LinuxDeviceCgroup{Allow: true, Type: kind, Access: access}
		if major >= 0 {
			d.Major, d.Minor = &major, &minor
		}
		return d
	}
	return []specs.LinuxDeviceCgroup{
		{Allow: false, Access: "rwm"},
		rule("c", -1, -1, "m"),
		rule("b", -1, -1, "m"),
		rule("c", 1, 3, "rwm"), // null
		rule("c", 1, 5, "rwm"), // zero
		rule("c", 1, 7, "rwm"), // full
		rule("c", 1, 8, "rwm"), // random
		rule("c", 1, 9, "rwm"), // urandom
		rule("c", 5, 0, "rwm"), // tty
		rule("c", 5, 1, "rwm"), // console
	}
}

// maskedPaths returns Docker's masked paths. They expose the host, or let a container's root change
// it.
func maskedPaths() []string {
	return []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
		"/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware",
	}
}
