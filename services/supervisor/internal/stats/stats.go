// Package stats samples the resource usage of running containers from their cgroups and network
// namespaces, without a program inside the container. Package run calls it.
package stats

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/supervisor/internal/cgroup"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/procfile"
)

// Sample is the resource usage of a container at a time.
type Sample struct {
	Container *container.Container
	Running   bool // otherwise all values are zero
	At        time.Time
	Usage     cgroup.Usage
	Networks  []Network

	// HostMemory is the memory of the host, which limits a container without a limit.
	HostMemory uint64
	CPUs       int // of the host

	Before *cgroup.Usage // usage of the previous sample; nil for the first one
	Since  time.Duration // time since the previous sample
}

// Network is the traffic of an interface.
type Network struct {
	Interface                                string
	ReceivedBytes, ReceivedPackets           uint64
	ReceiveErrors, ReceiveDropped            uint64
	TransmittedBytes, TransmittedPackets     uint64
	TransmissionErrors, TransmissionsDropped uint64
}

// Sampler samples containers. It keeps the last sample of each, so that the next one has the usage
// in between. It must not be used concurrently.
type Sampler struct {
	meter  *cgroup.Meter
	memory uint64
	buf    []byte
	last   map[string]Sample
}

// New returns a Sampler.
func New(layout cgroup.Layout) *Sampler {
	s := &Sampler{meter: layout.NewMeter(), last: map[string]Sample{}, buf: make([]byte, 4<<10)}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		s.memory = info.Totalram * uint64(info.Unit)
	}
	return s
}

// Prime reads only the CPU usage of containers, for the first sample.
func (s *Sampler) Prime(all []*container.Container) {
	for _, c := range all {
		if !c.IsRunning() {
			continue
		}
		at := time.Now()
		if cpu, ok := s.meter.CPU(c.Config.Namespaces.CgroupParent, c.ID); ok {
			s.last[c.ID] = Sample{Container: c, At: at, Usage: cgroup.Usage{CPU: cpu}}
		}
	}
}

// Sample samples containers. Containers that do not run have a sample without values.
func (s *Sampler) Sample(all []*container.Container) []Sample {
	out := make([]Sample, 0, len(all))
	next := make(map[string]Sample, len(all))
	for _, c := range all {
		n := Sample{Container: c, At: time.Now(), HostMemory: s.memory, CPUs: runtime.NumCPU()}
		if c.IsRunning() && c.Live != nil {
			n.Usage, n.Running = s.meter.Usage(c.Config.Namespaces.CgroupParent, c.ID)
			if n.Running && c.Config.Network.Mode != container.ModeHost {
				n.Networks = s.readNetworks(c.Live.PID)
			}
		}
		if last, ok := s.last[c.ID]; ok && n.Running && last.Container.StartedAt.Equal(c.StartedAt) {
			n.Before, n.Since = &last.Usage, n.At.Sub(last.At)
		}
		if n.Running {
			next[c.ID] = n
		}
		out = append(out, n)
	}

	s.last = next
	return out
}

// readNetworks reads the counters of the interfaces in the network namespace of a process.
func (s *Sampler) readNetworks(pid int) []Network {
	text, err := procfile.Read(fmt.Sprintf("/proc/%d/net/dev", pid), &s.buf)
	if err != nil {
		return nil
	}
	return parseNetworks(text)
}

// parseNetworks parses /proc/net/dev, without the loopback interface.
func parseNetworks(text string) []Network {
	var out []Network
	for line := range strings.Lines(text) {
		name, counters, ok := strings.Cut(line, ":")
		fields := strings.Fields(counters)
		if name = strings.TrimSpace(name); !ok || name == "lo" || len(fields) < 12 {
			continue
		}
		var n [12]uint64
		for i := range n {
			n[i], _ = strconv.ParseUint(fields[i], 10, 64)
		}
		out = append(out, Network{Interface: name, ReceivedBytes: n[0], ReceivedPackets: n[1], ReceiveErrors: n[2],
			ReceiveDropped: n[3], TransmittedBytes: n[8], TransmittedPackets: n[9], TransmissionErrors: n[10],
			TransmissionsDropped: n[11]})
	}

	return out
}
