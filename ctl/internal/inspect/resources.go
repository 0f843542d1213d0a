package inspect

import (
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// WeightDevice is the block I/O weight of a device.
type WeightDevice struct {
	Path   string
	Weight uint32
}

// ThrottleDevice is a block I/O limit of a device.
type ThrottleDevice struct {
	Path string
	Rate uint64
}

// Ulimit is a limit of processes. -1 means unlimited.
type Ulimit struct {
	Name string
	Hard int64
	Soft int64
}

// Resources holds the resource limits of a container. Zero means unlimited.
type Resources struct {
	CPUShares            int64 `json:"CpuShares"`
	Memory               int64
	NanoCPUs             int64 `json:"NanoCpus"`
	BlkioWeight          uint32
	BlkioWeightDevice    []WeightDevice
	BlkioDeviceReadBps   []ThrottleDevice
	BlkioDeviceWriteBps  []ThrottleDevice
	BlkioDeviceReadIOps  []ThrottleDevice
	BlkioDeviceWriteIOps []ThrottleDevice
	CPUPeriod            int64 `json:"CpuPeriod"`
	CPUQuota             int64 `json:"CpuQuota"`
	CPURealtimePeriod    int64 `json:"CpuRealtimePeriod"` // always 0, like the next
	CPURealtimeRuntime   int64 `json:"CpuRealtimeRuntime"`
	CpusetCpus           string
	CpusetMems           string
	MemoryReservation    int64
	MemorySwap           int64
	MemorySwappiness     *int64
	OomKillDisable       bool
	OomScoreAdj          int32
	PidsLimit            *int64
	Ulimits              []Ulimit
	ShmSize              int64
}

func resourcesOf(r *containerv1.Resources) Resources {
	out := Resources{
		CPUShares: r.GetCpuShares(), Memory: r.GetMemory(), NanoCPUs: r.GetNanoCpus(),
		BlkioWeight: r.GetBlkioWeight(), BlkioWeightDevice: []WeightDevice{},
		BlkioDeviceReadBps: throttles(r.GetDeviceReadBps()), BlkioDeviceWriteBps: throttles(r.GetDeviceWriteBps()),
		BlkioDeviceReadIOps: throttles(r.GetDeviceReadIops()), BlkioDeviceWriteIOps: throttles(r.GetDeviceWriteIops()),
		CPUPeriod: r.GetCpuPeriod(), CPUQuota: r.GetCpuQuota(), CpusetCpus: r.GetCpusetCpus(),
		CpusetMems: r.GetCpusetMems(), MemoryReservation: r.GetMemoryReservation(), MemorySwap: r.GetMemorySwap(),
		OomKillDisable: r.GetOomKillDisable(), OomScoreAdj: r.GetOomScoreAdj(), Ulimits: []Ulimit{},
		ShmSize: r.GetShmSize(),
	}
	if r != nil {
		out.MemorySwappiness, out.PidsLimit = r.MemorySwappiness, r.PidsLimit
	}

	for _, d := range r.GetBlkioWeightDevices() {
		out.BlkioWeightDevice = append(out.BlkioWeightDevice, WeightDevice{d.GetPath(), d.GetWeight()})
	}
	for _, u := range r.GetUlimits() {
		out.Ulimits = append(out.Ulimits, Ulimit{Name: u.GetName(), Hard: u.GetHard(), Soft: u.GetSoft()})
	}

	return out
}

func throttles(in []*containerv1.ThrottleDevice) []ThrottleDevice {
	out := []ThrottleDevice{}
	for _, d := range in {
		out = append(out, ThrottleDevice{d.GetPath(), d.GetRate()})
	}
	return out
}
