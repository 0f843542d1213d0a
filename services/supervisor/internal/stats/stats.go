// Package stats samples the resource usage of running containers from their cgroups and network
// namespaces, without a program inside the container. Package run calls it.
package stats

import (
	"context"
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

// follow sets what the previous sample determines. The usage is copied, so that a sample does not keep all
// earlier ones in memory.
func (n *Sample) follow(last Sample) {
	before := last.Usage
	n.Before, n.Since = &before, n.At.Sub(last.At)
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

// New returns a Sampler. Close releases it.
func New(layout cgroup.Layout) *Sampler {
	s := &Sampler{meter: layout.NewMeter(), last: map[string]Sample{}, buf: make([]byte, 4<<10)}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		s.memory = info.Totalram * uint64(info.Unit)
	}
	return s
}

// First samples containers twice within an interval, so that the samples have the CPU usage in between. It
// returns early with the error of ctx.
func (s *Sampler) First(ctx context.Context, all []*container.Container, interval time.Duration) ([]Sample, error) {
	end := time.Now().Add(interval)
	before := map[string]Sample{}
	for _, c := range all {
		n := Sample{Container: c, At: time.Now()}
		if c.IsRunning() {
			n.Usage.CPU, n.Running = s.meter.CPU(c.Config.Namespaces.CgroupParent, c.ID)
		}
		before[c.ID] = n
	}

	// The other values are read within the interval: that takes a while for many containers.
	out := s.Sample(all)
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(time.Until(end)):
	}

	for i := range out {
		n, last := &out[i], before[out[i].Container.ID]
		if !n.Running || !last.Running {
			continue
		}
		if cpu, ok := s.meter.CPU(n.Container.Config.Namespaces.CgroupParent, n.Container.ID); ok {
			n.At, n.Usage.CPU = time.Now(), cpu
		}
		n.follow(last)
		s.last[n.Container.ID] = *n
	}
	return out, nil
}

// Sample samples containers. Containers that do not run have a sample without values.
func (s *Sampler) Sample(all []*container.Container) []Sample {
	out := make([]Sample, 0, len(all))
	next := make(map[string]Sample, len(all))
	for _, c := range all {
		n := Sample{Container: c, At: time.Now(), HostMemory: s.memory, CPUs: runtime.NumCPU()}
		last, known := s.last[c.ID]
		known = known && last.Container.StartedAt.Equal(c.StartedAt)
		var before *cgroup.Usage
		if known && last.Container == c { // not updated since
			before = &last.Usage
		}
		if c.IsRunning() && c.Live != nil {
			n.Usage, n.Running = s.meter.Usage(c.Config.Namespaces.CgroupParent, c.ID, before)
			if n.Running && c.Config.Network.Mode != container.ModeHost {
				n.Networks = s.readNetworks(c.Live.PID)
			}
		}
		if known && n.Running {
			n.follow(last)
		}
		if n.Running {
			next[c.ID] = n
		}
		out = append(out, n)
	}

	s.last = next
	s.meter.Sweep()
	return out
}

// Close closes the files that the Sampler reads.
func (s *Sampler) Close() { s.meter.Close() }

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
