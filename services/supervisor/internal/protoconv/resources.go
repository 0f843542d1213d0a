package protoconv

import (
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/resource"
)

// ResourcesFromProto converts resource limits.
func ResourcesFromProto(in *containerv1.Resources) (resource.Limits, error) {
	out := resource.Limits{
		Memory: in.GetMemory(), MemorySwap: in.GetMemorySwap(), MemoryReservation: in.GetMemoryReservation(),
		OOMKillDisable: in.GetOomKillDisable(), NanoCPUs: in.GetNanoCpus(), CPUShares: in.GetCpuShares(),
		CPUPeriod: in.GetCpuPeriod(), CPUQuota: in.GetCpuQuota(), CpusetCPUs: in.GetCpusetCpus(),
		CpusetMems: in.GetCpusetMems(), BlkioWeight: uint16(in.GetBlkioWeight()), ShmSize: in.GetShmSize(),
		DeviceReadBps: ratesFromProto(in.GetDeviceReadBps()), DeviceWriteBps: ratesFromProto(in.GetDeviceWriteBps()),
		DeviceReadIOps:  ratesFromProto(in.GetDeviceReadIops()),
		DeviceWriteIOps: ratesFromProto(in.GetDeviceWriteIops()),
	}
	if in.GetBlkioWeight() > 1000 {
		return out, fault.Invalidf("container", "blkio-weight", "Range of blkio weight is from 10 to 1000")
	}
	if in != nil {
		out.MemorySwappiness, out.PidsLimit = in.MemorySwappiness, in.PidsLimit
	}
	if in != nil && in.OomScoreAdj != nil {
		adj := int(in.GetOomScoreAdj())
		out.OOMScoreAdj = &adj
	}

	for _, d := range in.GetBlkioWeightDevices() {
		out.BlkioWeightDevices = append(out.BlkioWeightDevices,
			resource.DeviceRate{Path: d.GetPath(), Rate: uint64(d.GetWeight())})
	}
	for _, u := range in.GetUlimits() {
		out.Ulimits = append(out.Ulimits, resource.Ulimit{Name: u.GetName(), Soft: u.GetSoft(), Hard: u.GetHard()})
	}

	return out, nil
}

func ratesFromProto(in []*containerv1.ThrottleDevice) []resource.DeviceRate {
	var out []resource.DeviceRate
	for _, d := range in {
		out = append(out, resource.DeviceRate{Path: d.GetPath(), Rate: d.GetRate()})
	}
	return out
}

// ResourcesToProto converts resource limits to a message.
func ResourcesToProto(r resource.Limits) *containerv1.Resources {
	out := &containerv1.Resources{
		Memory: r.Memory, MemorySwap: r.MemorySwap, MemoryReservation: r.MemoryReservation,
		MemorySwappiness: r.MemorySwappiness, OomKillDisable: r.OOMKillDisable, NanoCpus: r.NanoCPUs,
		CpuShares: r.CPUShares, CpuPeriod: r.CPUPeriod, CpuQuota: r.CPUQuota, CpusetCpus: r.CpusetCPUs,
		CpusetMems: r.CpusetMems, PidsLimit: r.PidsLimit, BlkioWeight: uint32(r.BlkioWeight), ShmSize: r.ShmSize,
		DeviceReadBps: ratesToProto(r.DeviceReadBps), DeviceWriteBps: ratesToProto(r.DeviceWriteBps),
		DeviceReadIops: ratesToProto(r.DeviceReadIOps), DeviceWriteIops: ratesToProto(r.DeviceWriteIOps),
	}
	if r.OOMScoreAdj != nil {
		adj := int32(*r.OOMScoreAdj)
		out.OomScoreAdj = &adj
	}

	for _, d := range r.BlkioWeightDevices {
		out.BlkioWeightDevices = append(out.BlkioWeightDevices,
			&containerv1.WeightDevice{Path: d.Path, Weight: uint32(d.Rate)})
	}
	for _, u := range r.Ulimits {
		out.Ulimits = append(out.Ulimits, &containerv1.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}

	return out
}

func ratesToProto(in []resource.DeviceRate) []*containerv1.ThrottleDevice {
	var out []*containerv1.ThrottleDevice
	for _, d := range in {
		out = append(out, &containerv1.ThrottleDevice{Path: d.Path, Rate: d.Rate})
	}
	return out
}
