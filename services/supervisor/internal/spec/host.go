package spec

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/capability"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
)

// Host describes the limits set by the host and by the agent's own privileges.
type Host struct {
	CgroupV2            bool
	MissingCapabilities []string // capabilities the agent does not have and cannot grant, such as CAP_MKNOD
	RecursiveReadOnly   bool     // the kernel supports mount_setattr (Linux 5.12) for recursive read-only mounts
	OOMScoreAdj         int      // 0, or the agent's own value if it is higher and cannot be lowered
	ThermalThrottle     []string // directories of CPU throttle counters, a side channel for containers

	// Without CAP_SYS_RESOURCE: the highest limits and the lowest score that the agent can set.
	// Nil means no bound.
	MaxUlimits     map[string]uint64
	MinOOMScoreAdj int

	AppArmor         bool   // profiles can be applied
	AppArmorProfiles string // file that lists the profiles which are loaded
	SELinux          bool   // labels are enforced
	CgroupNamespaces bool
}

// DetectHost detects the limits of this host.
func DetectHost(cgroupV2 bool) (Host, error) {
	h := Host{CgroupV2: cgroupV2}
	caps, err := capability.NewPid2(0)
	if err == nil {
		err = caps.Load()
	}
	if err != nil {
		return h, fault.New(fault.Internal, "agent", "cannot read its capabilities", fault.WithCause(err),
			fault.WithHint("mount /proc"))
	}

	h.MissingCapabilities = missingCapabilities(caps)
	// Without the system call the error is ENOSYS, otherwise EBADF.
	h.RecursiveReadOnly = !errors.Is(unix.MountSetattr(-1, "", unix.AT_EMPTY_PATH, &unix.MountAttr{}), unix.ENOSYS)
	if !caps.Get(capability.PERMITTED, capability.CAP_SYS_RESOURCE) {
		h.MaxUlimits, h.MinOOMScoreAdj = hardLimits(), oomScoreAdj()
		h.OOMScoreAdj = max(0, h.MinOOMScoreAdj)
	}

	enabled, _ := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	h.AppArmor = strings.HasPrefix(string(enabled), "Y")
	h.AppArmorProfiles = "/sys/kernel/security/apparmor/profiles"
	_, err = os.Stat("/sys/fs/selinux/enforce")
	h.SELinux = err == nil
	_, err = os.Stat("/proc/self/ns/cgroup")
	h.CgroupNamespaces = err == nil
	h.ThermalThrottle, err = filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle")
	return h, err
}

func missingCapabilities(caps capability.Capabilities) []string {
	var out []string
	for _, c := range capability.ListKnown() {
		name := "CAP_" + strings.ToUpper(c.String())
		has := caps.Get(capability.PERMITTED, c) && caps.Get(capability.BOUNDING, c)
		if !has {
			out = append(out, name)
		}
	}
	return out
}

func oomScoreAdj() int {
	b, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return n
}
