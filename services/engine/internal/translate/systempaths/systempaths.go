// Package systempaths has the default paths below /proc and /sys that containers cannot see or write, as
// Docker's clients get and send them. It performs no I/O. Packages create and inspect use it; the
// supervisor has the paths of its own that it applies.
package systempaths

import (
	"slices"
	"strings"
)

// Masked returns the paths that containers cannot see by default.
func Masked() []string {
	return []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
		"/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware"}
}

// Readonly returns the paths that containers cannot write to by default.
func Readonly() []string {
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}

// IsDefault reports whether a list has the default paths, in any order. Programs that recreate a
// container send the list that they got. Docker adds a path for each CPU.
func IsDefault(list, defaults []string) bool {
	rest := slices.DeleteFunc(slices.Clone(list), func(p string) bool {
		return strings.HasPrefix(p, "/sys/devices/system/cpu/cpu") && strings.HasSuffix(p, "/thermal_throttle")
	})
	slices.Sort(rest)
	return slices.Equal(slices.Compact(rest), defaults)
}
