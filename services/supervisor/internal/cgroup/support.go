package cgroup

import (
	"fmt"
	"strconv"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/cpulist"
	"github.com/fairlead/fairlead/services/supervisor/internal/resource"
)

// Check returns a fault for the first limit that the host cannot enforce, or nil.
func (l Layout) Check(subject string, r resource.Limits) error {
	f := l.Features
	for _, limit := range []struct {
		given, enforced bool
		field, what     string
	}{
		{r.MemorySwap > 0, f.Swap, "memory-swap", "swap limit"},
		{r.MemorySwappiness != nil, f.Swappiness, "memory-swappiness", "memory swappiness"},
		{r.MemoryReservation > 0, f.Reservation, "memory-reservation", "memory soft limit"},
		{r.OOMKillDisable, f.OOMKillDisable, "oom-kill-disable", "OomKillDisable"},
		{r.NanoCPUs > 0, f.CPUQuota, "cpus", "CPU CFS scheduler"},
		{r.CPUPeriod != 0 || r.CPUQuota != 0, f.CPUQuota, "cpu-quota", "CPU CFS scheduler"},
		{r.CPUShares > 0, f.CPUShares, "cpu-shares", "CPU shares"},
		{r.CpusetCPUs != "", f.Cpuset, "cpuset-cpus", "cpuset"},
		{r.CpusetMems != "", f.Cpuset, "cpuset-mems", "cpuset"},
		{r.BlkioWeight > 0, f.BlkioWeight, "blkio-weight", "Block I/O weight"},
		{len(r.BlkioWeightDevices) > 0, f.BlkioWeightDevice, "blkio-weight-device", "Block I/O weight_device"},
		{len(r.DeviceReadBps) > 0, f.BlkioThrottle, "device-read-bps", "BPS Block I/O read limit"},
		{len(r.DeviceWriteBps) > 0, f.BlkioThrottle, "device-write-bps", "BPS Block I/O write limit"},
		{len(r.DeviceReadIOps) > 0, f.BlkioThrottle, "device-read-iops", "IOPS Block read limit"},
		{len(r.DeviceWriteIOps) > 0, f.BlkioThrottle, "device-write-iops", "IOPS Block write limit"},
	} {
		if limit.given && !limit.enforced {
			return fault.New(fault.Invalid, subject,
				fmt.Sprintf("Your kernel does not support %s capabilities or the cgroup is not mounted (cgroup %s)",
					limit.what, l.Mode),
				fault.WithField(limit.field), fault.WithHint("omit --%s", limit.field))
		}
	}
	return l.checkCPUs(subject, r)
}

// checkCPUs checks numbers of CPUs and memory nodes.
func (l Layout) checkCPUs(subject string, r resource.Limits) error {
	if err := subset(subject, "cpuset-cpus", "CPUs", r.CpusetCPUs, l.Features.CPUs); err != nil {
		return err
	}
	if err := subset(subject, "cpuset-mems", "memory nodes", r.CpusetMems, l.Features.Mems); err != nil {
		return err
	}
	have, err := cpulist.Parse(l.Features.CPUs)
	if n := len(have); err == nil && n > 0 && r.NanoCPUs > int64(n)*1e9 {
		return fault.Invalidf(subject, "cpus",
			"range of CPUs is from 0.01 to %[1]s.00, as there are only %[1]s CPUs available", strconv.Itoa(n))
	}
	return nil
}

// subset returns a fault if a list contains a number that is not available.
func subset(subject, field, what, requested, available string) error {
	want, err := cpulist.Parse(requested)
	if err != nil {
		return err // Validate has checked it
	}
	have, err := cpulist.Parse(available)
	if err != nil || available == "" {
		return nil // unknown; the runtime reports errors
	}
	for n := range want {
		if !have[n] {
			return fault.Invalidf(subject, field, "Requested %s are not available - requested %s, available: %s", what,
				requested, available)
		}
	}
	return nil
}
