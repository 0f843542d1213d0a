// Package stat translates the resource usage of a container. It performs no I/O.
package stat

import (
	"time"

	"github.com/moby/moby/api/types/container"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
)

// FromProto returns the document of a sample.
//
// Clients compute the CPU usage as the share of the time of all CPUs, which the sample does not have. It
// is the time that has passed, multiplied by the number of CPUs.
func FromProto(s *containerv1.ContainerStats, v apiversion.Version) *container.StatsResponse {
	out := &container.StatsResponse{ID: s.GetId(), Name: "/" + s.GetName(),
		BlkioStats: container.BlkioStats{IoServiceBytesRecursive: []container.BlkioStatEntry{}}}
	if v.AtLeast(52) {
		out.OSType = "linux"
	}
	if !s.GetRunning() {
		return out
	}

	cpus := uint64(s.GetCpus())
	out.Read = s.GetTime().AsTime()
	all := uint64(out.Read.UnixNano()) * cpus
	out.CPUStats = cpu(s.GetCpuNs(), all, s.GetCpus())
	if s.GetIntervalNs() > 0 {
		out.PreRead = out.Read.Add(-time.Duration(s.GetIntervalNs()))
		out.PreCPUStats = cpu(s.GetPreviousCpuNs(), all-s.GetIntervalNs()*cpus, s.GetCpus())
	}
	out.MemoryStats = container.MemoryStats{Usage: s.GetMemoryBytes(), Limit: s.GetMemoryLimitBytes(),
		Stats: map[string]uint64{"inactive_file": 0}} // which the usage does not include
	out.PidsStats = container.PidsStats{Current: s.GetPids(), Limit: s.GetPidsLimit()}
	out.BlkioStats.IoServiceBytesRecursive = []container.BlkioStatEntry{
		{Op: "read", Value: s.GetBlockReadBytes()}, {Op: "write", Value: s.GetBlockWriteBytes()}}
	for _, n := range s.GetNetworks() {
		if out.Networks == nil {
			out.Networks = map[string]container.NetworkStats{}
		}
		out.Networks[n.GetInterfaceName()] = container.NetworkStats{RxBytes: n.GetRxBytes(),
			RxPackets: n.GetRxPackets(), RxErrors: n.GetRxErrors(), RxDropped: n.GetRxDropped(),
			TxBytes:   n.GetTxBytes(),
			TxPackets: n.GetTxPackets(), TxErrors: n.GetTxErrors(), TxDropped: n.GetTxDropped()}
	}
	return out
}

func cpu(used, all uint64, cpus uint32) container.CPUStats {
	return container.CPUStats{CPUUsage: container.CPUUsage{TotalUsage: used}, SystemUsage: all, OnlineCPUs: cpus}
}
