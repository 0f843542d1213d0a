package containerflags

import (
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/ctl/internal/limitspec"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// Resources holds the flags of resource limits.
type Resources struct {
	limits     containerv1.Resources
	swappiness int64
	pids       int64
	oomScore   int
	weight     uint16
}

// value is a flag value that is parsed by a function.
type value struct {
	kind  string
	text  string
	parse func(text string) error
}

func (v *value) Set(text string) error {
	if err := v.parse(text); err != nil {
		return err
	}
	if v.kind == "list" && v.text != "" {
		text = v.text + "," + text
	}
	v.text = text
	return nil
}

func (v *value) String() string { return v.text }

// Type returns the type name for pflag.
func (v *value) Type() string { return v.kind }

// sizeValue returns a flag value in bytes. With unlimited, -1 is accepted.
func sizeValue(to *int64, unlimited bool) *value {
	return &value{kind: "bytes", parse: func(text string) (err error) {
		if unlimited && text == "-1" {
			*to = -1
			return nil
		}
		*to, err = limitspec.ParseSize(text)
		return err
	}}
}

// rateValue returns a flag value that collects the limits of block devices.
func rateValue(parse func(string) (limitspec.DeviceRate, error), to *[]*containerv1.ThrottleDevice) *value {
	return &value{kind: "list", parse: func(text string) error {
		d, err := parse(text)
		if err == nil {
			*to = append(*to, &containerv1.ThrottleDevice{Path: d.Path, Rate: d.Rate})
		}
		return err
	}}
}

// Add adds the flags of run and create to a flag set.
func (o *Resources) Add(f *pflag.FlagSet) {
	o.memoryFlags(f)
	o.cpuFlags(f)
	o.blkioFlags(f)
	f.Int64Var(&o.pids, "pids-limit", 0, "Limit of processes and threads (-1: unlimited)")
	f.Var(&value{kind: "list", parse: o.addUlimit}, "ulimit", "Limit of each process: NAME=SOFT[:HARD]")
	f.Var(sizeValue(&o.limits.ShmSize, false), "shm-size", "Size of /dev/shm")
}

// AddForUpdate adds the flags of update to a flag set.
func (o *Resources) AddForUpdate(f *pflag.FlagSet) {
	r := &o.limits
	f.VarP(sizeValue(&r.Memory, false), "memory", "m", "Memory limit, such as 512m")
	f.Var(sizeValue(&r.MemoryReservation, false), "memory-reservation", "Soft memory limit")
	f.Var(sizeValue(&r.MemorySwap, true), "memory-swap", "Limit of memory and swap (-1: unlimited swap)")
	o.cpuFlags(f)
	f.Uint16Var(&o.weight, "blkio-weight", 0, "Relative weight of block I/O: 10 to 1000")
	f.Int64Var(&o.pids, "pids-limit", 0, "Limit of processes and threads (-1: unlimited)")
}

// memoryFlags adds the flags of memory.
func (o *Resources) memoryFlags(f *pflag.FlagSet) {
	r := &o.limits
	f.VarP(sizeValue(&r.Memory, false), "memory", "m", "Memory limit, such as 512m")
	f.Var(sizeValue(&r.MemoryReservation, false), "memory-reservation", "Soft memory limit")
	f.Var(sizeValue(&r.MemorySwap, true), "memory-swap", "Limit of memory and swap (-1: unlimited swap)")
	f.Int64Var(&o.swappiness, "memory-swappiness", -1, "Tune swappiness: 0 to 100 (cgroup v1)")
	f.BoolVar(&r.OomKillDisable, "oom-kill-disable", false, "Disable the OOM killer (cgroup v1)")
	f.IntVar(&o.oomScore, "oom-score-adj", 0, "OOM preference of the host: -1000 to 1000")
}

func (o *Resources) cpuFlags(f *pflag.FlagSet) {
	r := &o.limits
	f.Var(&value{kind: "decimal", parse: func(text string) (err error) {
		r.NanoCpus, err = limitspec.ParseCPUs(text)
		return err
	}}, "cpus", "Number of CPUs, such as 1.5")
	f.Int64VarP(&r.CpuShares, "cpu-shares", "c", 0, "Relative weight of CPU time (standard: 1024)")
	f.Int64Var(&r.CpuPeriod, "cpu-period", 0, "Period of the CPU limit in microseconds")
	f.Int64Var(&r.CpuQuota, "cpu-quota", 0, "CPU time of each period in microseconds")
	f.StringVar(&r.CpusetCpus, "cpuset-cpus", "", "CPUs to use: 0-3, or 0,1")
	f.StringVar(&r.CpusetMems, "cpuset-mems", "", "Memory nodes to use: 0-3, or 0,1")
}

func (o *Resources) blkioFlags(f *pflag.FlagSet) {
	r := &o.limits
	f.Uint16Var(&o.weight, "blkio-weight", 0, "Relative weight of block I/O: 10 to 1000")
	f.Var(&value{kind: "list", parse: o.addWeightDevice}, "blkio-weight-device", "Weight for a device: PATH:WEIGHT")
	f.Var(rateValue(limitspec.ParseDeviceBps, &r.DeviceReadBps), "device-read-bps",
		"Limit bytes read per second: PATH:RATE")
	f.Var(rateValue(limitspec.ParseDeviceBps, &r.DeviceWriteBps), "device-write-bps",
		"Limit bytes written per second: PATH:RATE")
	f.Var(rateValue(limitspec.ParseDeviceIOps, &r.DeviceReadIops), "device-read-iops",
		"Limit reads per second: PATH:NUMBER")
	f.Var(rateValue(limitspec.ParseDeviceIOps, &r.DeviceWriteIops), "device-write-iops",
		"Limit writes per second: PATH:NUMBER")
}

func (o *Resources) addUlimit(text string) error {
	u, err := limitspec.ParseUlimit(text)
	if err != nil {
		return err
	}
	for _, other := range o.limits.Ulimits {
		if other.GetName() == u.Name { // the last one applies, as in Docker
			other.Soft, other.Hard = u.Soft, u.Hard
			return nil
		}
	}
	o.limits.Ulimits = append(o.limits.Ulimits, &containerv1.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	return nil
}

func (o *Resources) addWeightDevice(text string) error {
	d, err := limitspec.ParseWeightDevice(text)
	if err == nil {
		o.limits.BlkioWeightDevices = append(o.limits.BlkioWeightDevices,
			&containerv1.WeightDevice{Path: d.Path, Weight: uint32(d.Rate)})
	}
	return err
}

// Values returns the limits that were given, nil if there are none.
func (o *Resources) Values(f *pflag.FlagSet) *containerv1.Resources {
	r := &o.limits
	if f.Changed("memory-swappiness") && o.swappiness != -1 { // -1 is Docker's word for the host's
		r.MemorySwappiness = &o.swappiness
	}
	if f.Changed("pids-limit") {
		r.PidsLimit = &o.pids
	}
	if f.Changed("oom-score-adj") {
		adj := int32(o.oomScore)
		r.OomScoreAdj = &adj
	}
	r.BlkioWeight = uint32(o.weight)
	if proto.Size(r) == 0 {
		return nil
	}
	return r
}
