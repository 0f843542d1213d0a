package spec

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/capability"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
)

// Host is what the host and the agent's own privileges allow.
type Host struct {
	CgroupV2            bool
	MissingCapabilities []string // those that the agent has not and so cannot give, as CAP_MKNOD
	RecursiveReadOnly   bool     // the kernel has mount_setattr (Linux 5.12), which makes a mount read-only with all mounts below it
	OOMScoreAdj         int      // 0, or what the agent has if it is more and cannot be lowered
	ThermalThrottle     []string // folders of the processors' throttle counters, by which a container could spy
}

// DetectHost finds it out.
func DetectHost(cgroupV2 bool) (Host, error) {
	h := Host{CgroupV2: cgroupV2}
	caps, err := capability.NewPid2(0)
	if err == nil {
		err = caps.Load()
	}
	if err != nil {
		return h, fault.New(fault.Internal, "agent", "its capabilities cannot be read", fault.WithCause(err), fault.WithHint("mount /proc"))
	}
	h.MissingCapabilities = lacked(caps)
	// A descriptor that is not open gives EBADF, and a kernel without the call ENOSYS.
	h.RecursiveReadOnly = !errors.Is(unix.MountSetattr(-1, "", unix.AT_EMPTY_PATH, &unix.MountAttr{}), unix.ENOSYS)
	if !caps.Get(capability.PERMITTED, capability.CAP_SYS_RESOURCE) {
		h.OOMScoreAdj = max(0, oomScoreAdj())
	}
	h.ThermalThrottle, err = filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle")
	return h, err
}

func lacked(caps capability.Capabilities) []string {
	var out []string
	for _, c := range capability.ListKnown() {
		name := "CAP_" + strings.ToUpper(c.String())
		has := caps.Get(capability.PERMITTED, c) && caps.Get(capability.BOUNDING, c)
		if !has && slices.Contains(defaultCapabilities(), name) {
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
