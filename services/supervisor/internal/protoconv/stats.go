package protoconv

import (
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/stats"
)

// StatsToProto converts samples of the resource usage of containers.
func StatsToProto(samples []stats.Sample) *containerv1.StreamStatsResponse {
	out := &containerv1.StreamStatsResponse{}
	for _, s := range samples {
		m := &containerv1.ContainerStats{Id: s.Container.ID, Name: s.Container.Config.Name, Running: s.Running,
			Time: timeToProto(s.At), Cpus: uint32(s.CPUs)}
		if s.Running {
			u := s.Usage
			m.CpuNs, m.MemoryBytes, m.MemoryLimitBytes = u.CPU, u.Memory, u.MemoryLimit
			m.BlockReadBytes, m.BlockWriteBytes, m.Pids, m.PidsLimit = u.BlockRead, u.BlockWrite, u.Pids, u.PidsLimit
			if u.MemoryLimit == 0 || u.MemoryLimit > s.HostMemory {
				m.MemoryLimitBytes = s.HostMemory
			}
		}
		if s.Before != nil {
			m.IntervalNs, m.PreviousCpuNs = uint64(s.Since.Nanoseconds()), s.Before.CPU
		}
		for _, n := range s.Networks {
			m.Networks = append(m.Networks, &containerv1.NetworkStats{InterfaceName: n.Interface,
				RxBytes: n.ReceivedBytes, RxPackets: n.ReceivedPackets, RxErrors: n.ReceiveErrors,
				RxDropped: n.ReceiveDropped, TxBytes: n.TransmittedBytes, TxPackets: n.TransmittedPackets,
				TxErrors: n.TransmissionErrors, TxDropped: n.TransmissionsDropped})
		}
		out.Containers = append(out.Containers, m)
	}

	return out
}
