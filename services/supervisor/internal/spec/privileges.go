package spec

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/resource"
)

// rlimitNumbers maps the names of resource limits to the kernel's numbers.
var rlimitNumbers = map[string]int{
	"core": unix.RLIMIT_CORE, "cpu": unix.RLIMIT_CPU, "data": unix.RLIMIT_DATA, "fsize": unix.RLIMIT_FSIZE,
	"locks": unix.RLIMIT_LOCKS, "memlock": unix.RLIMIT_MEMLOCK, "msgqueue": unix.RLIMIT_MSGQUEUE,
	"nice": unix.RLIMIT_NICE, "nofile": unix.RLIMIT_NOFILE, "nproc": unix.RLIMIT_NPROC, "rss": unix.RLIMIT_RSS,
	"rtprio": unix.RLIMIT_RTPRIO, "rttime": unix.RLIMIT_RTTIME, "sigpending": unix.RLIMIT_SIGPENDING,
	"stack": unix.RLIMIT_STACK,
}

// hardLimits returns the agent's own hard limits by name.
func hardLimits() map[string]uint64 {
	out := map[string]uint64{}
	for name, number := range rlimitNumbers {
		var limit unix.Rlimit
		if unix.Getrlimit(number, &limit) == nil {
			out[name] = limit.Max
		}
	}
	return out
}

// CheckUlimits returns a fault for the first limit that the agent cannot set, or nil.
func (h Host) CheckUlimits(subject, field string, limits []resource.Ulimit) error {
	if h.MaxUlimits == nil {
		return nil // CAP_SYS_RESOURCE
	}
	for _, u := range limits {
		own, known := h.MaxUlimits[u.Name]
		if known && uint64(u.Hard) > own {
			return fault.New(fault.Invalid, subject,
				fmt.Sprintf("ulimit %s=%d:%d exceeds the agent's own hard limit of %s, and the agent lacks "+
					"CAP_SYS_RESOURCE", u.Name, u.Soft, u.Hard, limitText(own)),
				fault.WithField(field), fault.WithHint("lower it, or give the agent the capability"))
		}
	}
	return nil
}

func limitText(n uint64) string {
	if n == math.MaxUint64 {
		return "unlimited"
	}
	return fmt.Sprint(n)
}

// CheckOOMScoreAdj returns a fault if the agent cannot lower its score to a value.
func (h Host) CheckOOMScoreAdj(subject string, adj *int) error {
	if adj == nil || h.MaxUlimits == nil || *adj >= h.MinOOMScoreAdj {
		return nil
	}
	return fault.New(fault.Invalid, subject,
		fmt.Sprintf("oom-score-adj %d is lower than the agent's own %d, and the agent lacks CAP_SYS_RESOURCE", *adj,
			h.MinOOMScoreAdj),
		fault.WithField("oom-score-adj"), fault.WithHint("raise it, or give the agent the capability"))
}

// checkAppArmor returns a fault if a profile cannot be applied. Without a list of profiles, for example where
// securityfs is not mounted, the runtime finds out.
func (h Host) checkAppArmor(subject, profile string) error {
	if profile == "" || profile == container.Unconfined {
		return nil
	}
	refuse := func(why, hint string) error {
		return fault.New(fault.Invalid, subject, "AppArmor profile "+profile+" cannot be applied: "+why,
			fault.WithField("security-opt"), fault.WithHint("%s", hint))
	}
	if !h.AppArmor {
		return refuse("the kernel has AppArmor disabled", "omit apparmor=")
	}

	loaded, err := os.ReadFile(h.AppArmorProfiles)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(loaded)) { // NAME (MODE)
		if name, _, _ := strings.Cut(line, " ("); name == profile {
			return nil
		}
	}
	return refuse("it is not loaded",
		"load it with apparmor_parser, or omit apparmor=; aa-status lists the loaded ones")
}

// CheckSecurity returns a fault for the first privilege that the agent or the kernel does not have.
// ALL and --privileged mean all capabilities of the agent.
func (h Host) CheckSecurity(subject string, s *container.Security, n container.Namespaces) error {
	for _, c := range s.NamedCapabilities() {
		if slices.Contains(h.MissingCapabilities, c) {
			return fault.New(fault.Invalid, subject, "capability "+c+" cannot be added: the agent does not have it",
				fault.WithField("cap-add"), fault.WithHint("give it to the agent, or omit it"))
		}
	}

	options, err := container.ParseSecurityOptions(subject, s.Options)
	if err != nil {
		return err
	}
	if err := h.checkAppArmor(subject, options.AppArmor); err != nil {
		return err
	}
	for _, label := range options.Labels {
		if label != "disable" || h.SELinux {
			return fault.New(fault.Invalid, subject, "SELinux label "+label+" is not supported",
				fault.WithField("security-opt"), fault.WithHint("omit label=; containers run without SELinux labels"))
		}
	}
	if p := options.Seccomp; p != "" && p != container.Unconfined && p != container.Builtin {
		if _, err := LoadSeccomp(p, &specs.Spec{Process: &specs.Process{}}); err != nil {
			return err
		}
	}
	if n.Cgroup == container.PrivateNamespace && !h.CgroupNamespaces {
		return fault.Invalidf(subject, "cgroupns", "Your kernel does not support cgroup namespaces")
	}
	return nil
}
