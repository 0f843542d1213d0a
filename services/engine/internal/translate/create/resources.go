package create

import (
	"math"
	"net/http"

	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// ResourcesToProto converts resource limits.
func ResourcesToProto(r *container.Resources) (*containerv1.Resources, error) {
	out := &containerv1.Resources{
		Memory: r.Memory, MemorySwap: r.MemorySwap, MemoryReservation: r.MemoryReservation,
		NanoCpus: r.NanoCPUs, CpuShares: r.CPUShares, CpuPeriod: r.CPUPeriod, CpuQuota: r.CPUQuota,
		CpusetCpus: r.CpusetCpus, CpusetMems: r.CpusetMems, BlkioWeight: uint32(r.BlkioWeight),
		DeviceReadBps: throttles(r.BlkioDeviceReadBps), DeviceWriteBps: throttles(r.BlkioDeviceWriteBps),
		DeviceReadIops: throttles(r.BlkioDeviceReadIOps), DeviceWriteIops: throttles(r.BlkioDeviceWriteIOps),
		PidsLimit: r.PidsLimit, OomKillDisable: r.OomKillDisable != nil && *r.OomKillDisable,
	}
	if n := r.MemorySwappiness; n != nil && *n != -1 { // -1 is the default of old clients
		out.MemorySwappiness = n
	}
	for _, d := range r.BlkioWeightDevice {
		if d != nil {
			out.BlkioWeightDevices = append(out.BlkioWeightDevices,
				&containerv1.WeightDevice{Path: d.Path, Weight: uint32(d.Weight)})
		}
	}
	for _, u := range r.Ulimits {
		if u == nil || u.Name == "" {
			return nil, httpapi.Errorf(http.StatusBadRequest, "HostConfig.Ulimits: a limit has no name")
		}
		out.Ulimits = append(out.Ulimits, &containerv1.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}
	if r.CPUCount != 0 || r.CPUPercent != 0 || r.IOMaximumIOps != 0 || r.IOMaximumBandwidth != 0 {
		return nil, httpapi.Errorf(http.StatusBadRequest,
			"HostConfig.CpuCount, CpuPercent, IOMaximumIOps and IOMaximumBandwidth: are not supported; they are for "+
				"Windows")
	}
	if r.BlkioWeight > math.MaxInt16 {
		return nil, httpapi.Errorf(http.StatusBadRequest, "range of blkio weight is from 10 to 1000")
	}
	return out, nil
}

func throttles(in []*blkiodev.ThrottleDevice) (out []*containerv1.ThrottleDevice) {
	for _, d := range in {
		if d != nil {
			out = append(out, &containerv1.ThrottleDevice{Path: d.Path, Rate: d.Rate})
		}
	}
	return out
}
