package container

import "github.com/fairlead/fairlead/proto/fault"

// UpdatedResources returns the limits of a container after an update. Zero fields of changes do not
// change. Only limits of cgroups can be updated.
func (c *Container) UpdatedResources(changes Resources) (Resources, error) {
	if err := changes.validate(c.Subject(), true); err != nil {
		return Resources{}, err
	}

	n := c.Config.Resources
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
		return n, fault.Invalidf(c.Subject(), "memory", "Memory limit should be smaller than already set "+
			"memoryswap limit, update the memoryswap at the same time")
	}

	return n, n.validate(c.Subject(), false)
}
