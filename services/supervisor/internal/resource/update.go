package resource

import "github.com/fairlead/fairlead/proto/fault"

// Updated returns the limits after an update. Zero fields of changes do not
// change. Only limits of cgroups can be updated.
func (r *Limits) Updated(subject string, changes Limits) (Limits, error) {
	if err := changes.validate(subject, true); err != nil {
		return Limits{}, err
	}

	n := *r
	for _, f := range []struct{ to, from *int64 }{{&n.Memory, &changes.Memory}, {&n.MemorySwap, &changes.MemorySwap},
		{&n.MemoryReservation, &changes.MemoryReservation}, {&n.NanoCPUs, &changes.NanoCPUs},
		{&n.CPUShares, &changes.CPUShares}, {&n.CPUPeriod, &changes.CPUPeriod}, {&n.CPUQuota, &changes.CPUQuota}} {
		if *f.from != 0 {
			*f.to = *f.from
		}
	}

	if changes.CpusetCPUs != "" {
		n.CpusetCPUs = changes.CpusetCPUs
	}

	if changes.CpusetMems != "" {
		n.CpusetMems = changes.CpusetMems
	}

	if changes.BlkioWeight != 0 {
		n.BlkioWeight = changes.BlkioWeight
	}

	if changes.PidsLimit != nil {
		n.PidsLimit = changes.PidsLimit
	}

	if changes.Memory > 0 && changes.MemorySwap == 0 && n.MemorySwap > 0 && n.Memory > n.MemorySwap {
		return n, fault.Invalidf(subject, "memory", "Memory limit should be smaller than already set "+
			"memoryswap limit, update the memoryswap at the same time")
	}

	return n, n.validate(subject, false)
}
