// Package resource defines the resource limits of a container: their validation, defaults and
// updates. It performs no I/O; the limits of the host are not known to it.
package resource

import (
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/cpulist"
)

// Limits are the resource limits of a container. Zero means no limit, unless a field says
// otherwise.
type Limits struct {
	Memory            int64  `json:",omitempty"` // bytes
	MemorySwap        int64  `json:",omitempty"` // memory and swap in bytes; 0: twice Memory, -1: unlimited
	MemoryReservation int64  `json:",omitempty"` // bytes
	MemorySwappiness  *int64 `json:",omitempty"` // 0 to 100; nil: the host's
	OOMKillDisable    bool   `json:",omitempty"`
	OOMScoreAdj       *int   `json:",omitempty"` // -1000 to 1000; nil: the agent's default

	NanoCPUs   int64  `json:",omitempty"` // 1e9 is one CPU
	CPUShares  int64  `json:",omitempty"`
	CPUPeriod  int64  `json:",omitempty"` // microseconds
	CPUQuota   int64  `json:",omitempty"` // microseconds for each period; negative: unlimited
	CpusetCPUs string `json:",omitempty"` // list such as "0-2,4"
	CpusetMems string `json:",omitempty"`

	PidsLimit *int64 `json:",omitempty"` // nil: the agent's default; 0 and -1: unlimited

	BlkioWeight                     uint16       `json:",omitempty"` // 10 to 1000
	BlkioWeightDevices              []DeviceRate `json:",omitempty"`
	DeviceReadBps, DeviceWriteBps   []DeviceRate `json:",omitempty"` // bytes per second
	DeviceReadIOps, DeviceWriteIOps []DeviceRate `json:",omitempty"` // operations per second
	Ulimits                         []Ulimit     `json:",omitempty"`
	ShmSize                         int64        `json:",omitempty"` // bytes of /dev/shm; 0: the default
}

// DeviceRate is a block I/O limit or weight of one block device.
type DeviceRate struct {
	Path string // on the host
	Rate uint64
}

// Ulimit is a resource limit of processes, see setrlimit(2). -1 means unlimited.
type Ulimit struct {
	Name       string // such as "nofile"
	Soft, Hard int64
}

// Bounds of resources.
const (
	MinMemory    = 6 << 20
	maxCPUShares = 262144
	minPeriod    = 1000
	maxPeriod    = 1000000
	minWeight    = 10
	maxWeight    = 1000
	maxOOMAdj    = 1000
)

// limitCheck is a condition under which a configuration is rejected.
type limitCheck struct {
	broken      bool
	field, text string
}

// Warnings returns what limits allow that their user may not expect, one line each.
func (r *Limits) Warnings() []string {
	if !r.OOMKillDisable || r.Memory != 0 {
		return nil
	}
	return []string{"OOM killer is disabled for the container, but no memory limit is set, this can result in the " +
		"system running out of resources."}
}

// Validate checks the limits without regard to the host.
func (r *Limits) Validate(subject string) error { return r.validate(subject, false) }

// validate checks the limits. In an update, zero means unchanged.
func (r *Limits) validate(subject string, update bool) error {
	for _, check := range append(r.memoryChecks(update), r.cpuChecks()...) {
		if check.broken {
			return fault.Invalidf(subject, check.field, "%s", check.text)
		}
	}

	if err := validateCPULists(subject, r); err != nil {
		return err
	}
	if err := r.validateBlkio(subject); err != nil {
		return err
	}
	return validateUlimits(subject, r.Ulimits)
}

func (r *Limits) memoryChecks(update bool) []limitCheck {
	swappiness := r.MemorySwappiness
	return []limitCheck{
		{r.Memory != 0 && r.Memory < MinMemory, "memory", "Minimum memory limit allowed is 6MB"},
		{r.MemorySwap < -1, "memory-swap", "memory-swap must be a size, or -1 for unlimited swap"},
		{r.Memory > 0 && r.MemorySwap > 0 && r.MemorySwap < r.Memory, "memory-swap",
			"Minimum memoryswap limit should be larger than memory limit, see usage"},
		{r.Memory == 0 && r.MemorySwap > 0 && !update, "memory-swap",
			"You should always set the Memory limit when using Memoryswap limit, see usage"},
		{swappiness != nil && (*swappiness < 0 || *swappiness > 100), "memory-swappiness",
			"Invalid value: " + decimal(swappiness) + ", valid memory swappiness range is 0-100"},
		{r.MemoryReservation != 0 && r.MemoryReservation < MinMemory, "memory-reservation",
			"Minimum memory reservation allowed is 6MB"},
		{r.Memory > 0 && r.MemoryReservation > r.Memory, "memory-reservation",
			"Minimum memory limit can not be less than memory reservation limit, see usage"},
		{r.OOMScoreAdj != nil && (*r.OOMScoreAdj < -maxOOMAdj || *r.OOMScoreAdj > maxOOMAdj), "oom-score-adj",
			"Invalid value " + decimal(r.OOMScoreAdj) + ", range for oom score adj is [-1000, 1000]"},
		{r.ShmSize < 0, "shm-size", "SHM size can not be less than 0"},
		{r.PidsLimit != nil && *r.PidsLimit < -1, "pids-limit",
			"pids limit must be a number of processes, or -1 for no limit"},
	}
}

func (r *Limits) cpuChecks() []limitCheck {
	return []limitCheck{
		{r.NanoCPUs < 0, "cpus", "number of CPUs must not be negative"},
		{r.NanoCPUs > 0 && r.CPUPeriod > 0, "cpus",
			"Conflicting options: Nano CPUs and CPU Period cannot both be set"},
		{r.NanoCPUs > 0 && r.CPUQuota > 0, "cpus",
			"Conflicting options: Nano CPUs and CPU Quota cannot both be set"},
		{r.NanoCPUs > 0 && r.NanoCPUs < 1e7, "cpus", "range of CPUs starts at 0.01"},
		{r.CPUShares < 0 || r.CPUShares > maxCPUShares, "cpu-shares", "range of CPU shares is from 2 to 262144"},
		{r.CPUPeriod != 0 && (r.CPUPeriod < minPeriod || r.CPUPeriod > maxPeriod), "cpu-period",
			"CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"},
		{r.CPUQuota > 0 && r.CPUQuota < minPeriod, "cpu-quota",
			"CPU cfs quota can not be less than 1ms (i.e. 1000)"},
		{r.CPUQuota < -1, "cpu-quota", "CPU cfs quota must be a number of microseconds, or -1 for no limit"},
		{r.BlkioWeight != 0 && (r.BlkioWeight < minWeight || r.BlkioWeight > maxWeight), "blkio-weight",
			"Range of blkio weight is from 10 to 1000"},
	}
}

func validateCPULists(subject string, r *Limits) error {
	for _, list := range []struct{ field, what, text string }{
		{"cpuset-cpus", "cpuset cpus", r.CpusetCPUs}, {"cpuset-mems", "cpuset mems", r.CpusetMems},
	} {
		if _, err := cpulist.Parse(list.text); err != nil {
			return fault.New(fault.Invalid, subject, "Invalid value "+list.text+" for "+list.what,
				fault.WithField(list.field), fault.WithCause(err), fault.WithHint("write a list such as 0-2,4"))
		}
	}
	return nil
}

func (r *Limits) validateBlkio(subject string) error {
	for _, d := range r.BlkioWeightDevices {
		if d.Rate < minWeight || d.Rate > maxWeight {
			return fault.Invalidf(subject, "blkio-weight-device", "invalid weight for device: %s:%d", d.Path, d.Rate)
		}
	}
	for _, list := range [][]DeviceRate{r.BlkioWeightDevices, r.DeviceReadBps, r.DeviceWriteBps, r.DeviceReadIOps,
		r.DeviceWriteIOps} {
		for _, d := range list {
			if !strings.HasPrefix(d.Path, "/dev/") || strings.ContainsRune(d.Path, 0) {
				return fault.Invalidf(subject, "device", "bad format for device path: %s", d.Path)
			}
		}
	}
	return nil
}

// Defaults are the agent's settings for limits that a container does not set.
type Defaults struct {
	ShmSize     int64 // bytes of /dev/shm
	OOMScoreAdj int
	NoSwapLimit bool // the kernel cannot limit swap
}

// WithDefaults returns a copy with the derived limits and the defaults of d.
func (r Limits) WithDefaults(d Defaults) Limits {
	if r.Memory > 0 && r.MemorySwap == 0 {
		r.MemorySwap = 2 * r.Memory
		if d.NoSwapLimit {
			r.MemorySwap = -1
		}
	}
	if r.ShmSize == 0 {
		r.ShmSize = d.ShmSize
	}
	if r.OOMScoreAdj == nil && d.OOMScoreAdj != 0 {
		r.OOMScoreAdj = &d.OOMScoreAdj
	}
	return r
}
