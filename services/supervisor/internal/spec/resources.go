package spec

import (
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/fairlead/fairlead/services/supervisor/internal/resource"
)

// DeviceNumber identifies a device of the kernel.
type DeviceNumber struct{ Major, Minor int64 }

// cpuPeriod is the period in microseconds in which --cpus is enforced.
const cpuPeriod = 100_000

// Limits returns the cgroup limits of the OCI specification. numbers maps the paths of block
// devices. Limits that are not set are absent.
func Limits(r resource.Limits, defaultPids int64, numbers map[string]DeviceNumber) *specs.LinuxResources {
	return &specs.LinuxResources{Memory: memoryOf(r), CPU: cpuOf(r), Pids: pidsOf(r, defaultPids),
		BlockIO: blockIO(r, numbers)}
}

func memoryOf(r resource.Limits) *specs.LinuxMemory {
	m := specs.LinuxMemory{Limit: given(r.Memory), Reservation: given(r.MemoryReservation),
		Swap: given(max(r.MemorySwap, 0))}
	if r.MemorySwappiness != nil {
		swappiness := uint64(*r.MemorySwappiness)
		m.Swappiness = &swappiness
	}
	if r.OOMKillDisable {
		m.DisableOOMKiller = &r.OOMKillDisable
	}
	if m == (specs.LinuxMemory{}) {
		return nil
	}
	return &m
}

func cpuOf(r resource.Limits) *specs.LinuxCPU {
	c := specs.LinuxCPU{Cpus: r.CpusetCPUs, Mems: r.CpusetMems, Quota: given(r.CPUQuota)}
	if r.CPUShares > 0 {
		shares := uint64(r.CPUShares)
		c.Shares = &shares
	}
	period := uint64(r.CPUPeriod)
	if r.NanoCPUs > 0 {
		quota := r.NanoCPUs * cpuPeriod / 1e9
		period, c.Quota = cpuPeriod, &quota
	}
	if period > 0 {
		c.Period = &period
	}
	if c == (specs.LinuxCPU{}) {
		return nil
	}
	return &c
}

// pidsOf returns the limit of processes; nil if there is none.
func pidsOf(r resource.Limits, standard int64) *specs.LinuxPids {
	if r.PidsLimit != nil {
		standard = *r.PidsLimit
	}
	if standard <= 0 {
		return nil
	}
	return &specs.LinuxPids{Limit: &standard}
}

func blockIO(r resource.Limits, numbers map[string]DeviceNumber) *specs.LinuxBlockIO {
	throttles := func(list []resource.DeviceRate) (out []specs.LinuxThrottleDevice) {
		for _, d := range list {
			t := specs.LinuxThrottleDevice{Rate: d.Rate}
			t.Major, t.Minor = numbers[d.Path].Major, numbers[d.Path].Minor
			out = append(out, t)
		}
		return out
	}

	b := &specs.LinuxBlockIO{
		ThrottleReadBpsDevice: throttles(r.DeviceReadBps), ThrottleWriteBpsDevice: throttles(r.DeviceWriteBps),
		ThrottleReadIOPSDevice: throttles(r.DeviceReadIOps), ThrottleWriteIOPSDevice: throttles(r.DeviceWriteIOps),
	}
	if r.BlkioWeight > 0 {
		b.Weight = &r.BlkioWeight
	}
	for _, d := range r.BlkioWeightDevices {
		weight := uint16(d.Rate)
		w := specs.LinuxWeightDevice{Weight: &weight}
		w.Major, w.Minor = numbers[d.Path].Major, numbers[d.Path].Minor
		b.WeightDevice = append(b.WeightDevice, w)
	}
	if b.Weight == nil && len(b.WeightDevice)+len(b.ThrottleReadBpsDevice)+len(b.ThrottleWriteBpsDevice)+
		len(b.ThrottleReadIOPSDevice)+len(b.ThrottleWriteIOPSDevice) == 0 {
		return nil
	}
	return b
}

func rlimits(limits []resource.Ulimit) []specs.POSIXRlimit {
	var out []specs.POSIXRlimit
	for _, u := range limits {
		out = append(out, specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(u.Name), Soft: uint64(u.Soft),
			Hard: uint64(u.Hard)}) // -1 is the kernel's RLIM_INFINITY
	}
	return out
}

// given returns a pointer to a number, or nil for zero.
func given(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}
