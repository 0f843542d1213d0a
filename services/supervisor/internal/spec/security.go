package spec

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// defaultCapabilities returns Docker's default capabilities.
func defaultCapabilities() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
		"CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
		"CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
	}
}

// capabilities returns the default capabilities that the agent has itself. Only for root they are
// effective: other users get them from file capabilities, as after any execve(2).
func capabilities(h Host, uid uint32) *specs.LinuxCapabilities {
	caps := slices.DeleteFunc(defaultCapabilities(),
		func(c string) bool { return slices.Contains(h.MissingCapabilities, c) })
	if uid != 0 {
		return &specs.LinuxCapabilities{Bounding: caps}
	}
	return &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
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
