package container

import (
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// AllCapabilities denotes all capabilities in CapAdd and CapDrop.
const AllCapabilities = "ALL"

// knownCapabilities lists the capabilities of Linux, see capabilities(7).
var knownCapabilities = []string{
	"CAP_AUDIT_CONTROL", "CAP_AUDIT_READ", "CAP_AUDIT_WRITE", "CAP_BLOCK_SUSPEND", "CAP_BPF",
	"CAP_CHECKPOINT_RESTORE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID",
	"CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_KILL", "CAP_LEASE", "CAP_LINUX_IMMUTABLE", "CAP_MAC_ADMIN",
	"CAP_MAC_OVERRIDE", "CAP_MKNOD", "CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_RAW",
	"CAP_PERFMON", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYSLOG", "CAP_SYS_ADMIN",
	"CAP_SYS_BOOT", "CAP_SYS_CHROOT", "CAP_SYS_MODULE", "CAP_SYS_NICE", "CAP_SYS_PACCT", "CAP_SYS_PTRACE",
	"CAP_SYS_RAWIO", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_WAKE_ALARM",
}

// NormalizeCapability returns a capability in upper case with the prefix CAP_, except ALL.
func NormalizeCapability(name string) string {
	name = strings.ToUpper(name)
	if name == AllCapabilities || name == "CAP_"+AllCapabilities {
		return AllCapabilities
	}
	return "CAP_" + strings.TrimPrefix(name, "CAP_")
}

// normalizeCapabilities returns capabilities in their normal form, without duplicates.
func normalizeCapabilities(names []string) []string {
	var out []string
	for _, name := range names {
		if name = NormalizeCapability(name); !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

func validateCapabilities(subject, field string, names []string) error {
	for _, name := range names {
		n := NormalizeCapability(name)
		if n != AllCapabilities && !slices.Contains(knownCapabilities, n) {
			return fault.New(fault.Invalid, subject, `unknown capability: "`+n+`"`, fault.WithField(field),
				fault.WithHint("see capabilities(7), or use ALL"))
		}
	}
	return nil
}

// Capabilities returns the capabilities of the container, given Docker's default ones. ALL in CapAdd
// has precedence over ALL in CapDrop, as in Docker.
func (s *Security) Capabilities(standard []string) []string {
	add, drop := normalizeCapabilities(s.CapAdd), normalizeCapabilities(s.CapDrop)
	without := func(list []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(c string) bool { return slices.Contains(drop, c) })
	}

	switch {
	case s.Privileged:
		return slices.Clone(knownCapabilities)
	case slices.Contains(add, AllCapabilities):
		return without(knownCapabilities)
	case slices.Contains(drop, AllCapabilities):
		return add
	}

	out := without(standard)
	for _, c := range add {
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}

// NamedCapabilities returns the capabilities that the user requested by name.
func (s *Security) NamedCapabilities() []string {
	return slices.DeleteFunc(normalizeCapabilities(s.CapAdd), func(c string) bool { return c == AllCapabilities })
}
