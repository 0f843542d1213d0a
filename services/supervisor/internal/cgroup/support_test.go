package cgroup

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/supervisor/internal/resource"
)

// allFiles lists the files of a v1 cgroup with all features.
func allFiles(string) bool { return true }

func TestUnsupportedLimitsAreRejected(t *testing.T) {
	none := Layout{Mode: V2}
	swappiness, rates := int64(10), []resource.DeviceRate{{Path: "/dev/sda", Rate: 20}}
	for field, r := range map[string]resource.Limits{
		"memory-swap": {MemorySwap: 1}, "memory-swappiness": {MemorySwappiness: &swappiness},
		"memory-reservation": {MemoryReservation: 1}, "oom-kill-disable": {OOMKillDisable: true},
		"cpus": {NanoCPUs: 1}, "cpu-quota": {CPUPeriod: 1000}, "cpu-shares": {CPUShares: 2},
		"cpuset-cpus": {CpusetCPUs: "0"}, "cpuset-mems": {CpusetMems: "0"}, "blkio-weight": {BlkioWeight: 10},
		"blkio-weight-device": {BlkioWeightDevices: rates}, "device-read-bps": {DeviceReadBps: rates},
		"device-write-bps": {DeviceWriteBps: rates}, "device-read-iops": {DeviceReadIOps: rates},
		"device-write-iops": {DeviceWriteIOps: rates},
	} {
		err := none.Check("container web", r)
		if err == nil || !strings.Contains(err.Error(), "container web: Your kernel does not support") ||
			!strings.Contains(err.Error(), "omit --"+field) {
			t.Errorf("%s: got %v, want an error that names it", field, err)
		}
		if err := (Layout{Mode: V1, Features: featuresV1(allFiles)}).Check("container web", r); err != nil {
			t.Errorf("%s with all features: got %v", field, err)
		}
	}
	if err := none.Check("container web", resource.Limits{Memory: 1 << 30, MemorySwap: -1}); err != nil {
		t.Errorf("memory: got %v, want no error", err)
	}
}

func TestAbsentCPUsAreRejected(t *testing.T) {
	l := Layout{Mode: V2, Features: featuresV2([]string{"cpu", "cpuset"}, false, false, false)}
	l.Features.CPUs, l.Features.Mems = "0-1", "0"
	for want, r := range map[string]resource.Limits{
		"Requested CPUs are not available - requested 0-2, available: 0-1":     {CpusetCPUs: "0-2"},
		"Requested memory nodes are not available - requested 1, available: 0": {CpusetMems: "1"},
		"range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs":         {NanoCPUs: 21e8},
	} {
		if err := l.Check("container", r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", r, err, want)
		}
	}
	if err := l.Check("container", resource.Limits{CpusetCPUs: "1", CpusetMems: "0", NanoCPUs: 2e9}); err != nil {
		t.Errorf("got %v, want no error", err)
	}
}

func TestFeaturesOfV2(t *testing.T) {
	f := featuresV2([]string{"cpu", "cpuset", "io", "memory", "pids"}, true, true, false)
	want := Features{Swap: true, Reservation: true, CPUShares: true, CPUQuota: true, Cpuset: true, BlkioWeight: true,
		BlkioThrottle: true}
	if f != want {
		t.Errorf("got %+v, want %+v", f, want)
	}
}
