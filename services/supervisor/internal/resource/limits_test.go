package resource

import (
	"strings"
	"testing"
)

func ptr[T any](v T) *T { return &v }

func TestValidation(t *testing.T) {
	for want, r := range map[string]Limits{
		"Minimum memory limit allowed is 6MB":           {Memory: MinMemory - 1},
		"Minimum memory reservation allowed is 6MB":     {MemoryReservation: 1},
		"can not be less than memory reservation limit": {Memory: MinMemory, MemoryReservation: MinMemory + 1},
		"should be larger than memory limit":            {Memory: 2 * MinMemory, MemorySwap: MinMemory},
		"You should always set the Memory limit":        {MemorySwap: MinMemory},
		"-1 for unlimited swap":                         {Memory: MinMemory, MemorySwap: -2},
		"Invalid value: 101, valid memory swappiness":   {MemorySwappiness: ptr(int64(101))},
		"Invalid value: -1, valid memory swappiness":    {MemorySwappiness: ptr(int64(-1))},
		"Invalid value 1001, range for oom score adj":   {OOMScoreAdj: ptr(1001)},
		"SHM size can not be less than 0":               {ShmSize: -1},
		"pids limit must be":                            {PidsLimit: ptr(int64(-2))},
		"number of CPUs must not be negative":           {NanoCPUs: -1},
		"range of CPUs starts at 0.01":                  {NanoCPUs: 1},
		"Nano CPUs and CPU Period cannot both be set":   {NanoCPUs: 1e9, CPUPeriod: 1000},
		"Nano CPUs and CPU Quota cannot both be set":    {NanoCPUs: 1e9, CPUQuota: 1000},
		"range of CPU shares is from 2 to 262144":       {CPUShares: 262145},
		"CPU cfs period can not be less than 1ms":       {CPUPeriod: 999},
		"CPU cfs quota can not be less than 1ms":        {CPUQuota: 999},
		"-1 for no limit":                               {CPUQuota: -2},
		"Invalid value 2-1 for cpuset cpus":             {CpusetCPUs: "2-1"},
		"Invalid value x for cpuset mems":               {CpusetMems: "x"},
		"invalid number 9999999999, the maximum":        {CpusetCPUs: "0-9999999999"},
		"Range of blkio weight is from 10 to 1000":      {BlkioWeight: 9},
		"invalid weight for device: /dev/a:5":           {BlkioWeightDevices: []DeviceRate{{"/dev/a", 5}}},
		"bad format for device path: a":                 {DeviceReadBps: []DeviceRate{{"a", 5}}},
		"invalid ulimit type: files":                    {Ulimits: []Ulimit{{"files", 1, 1}}},
		"ulimit nofile is set twice":                    {Ulimits: []Ulimit{{"nofile", 1, 1}, {"nofile", 2, 2}}},
		"less than or equal to hard limit: 2 > 1":       {Ulimits: []Ulimit{{"nofile", 2, 1}}},
		"soft: -1 (unlimited), hard: 5":                 {Ulimits: []Ulimit{{"nofile", -1, 5}}},
		"ulimit nofile must be a number":                {Ulimits: []Ulimit{{"nofile", -2, 5}}},
	} {
		err := r.Validate("container web")
		if err == nil || !strings.HasPrefix(err.Error(), "container web: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want an error with %q", r, err, want)
		}
	}

	full := Limits{Memory: 1 << 30, MemorySwap: -1, MemoryReservation: MinMemory, MemorySwappiness: ptr(int64(0)),
		OOMKillDisable: true, OOMScoreAdj: ptr(-1000), NanoCPUs: 15e8, CPUShares: 2, CpusetCPUs: "0-2,4",
		CpusetMems: "0", PidsLimit: ptr(int64(-1)), BlkioWeight: 10, DeviceReadBps: []DeviceRate{{"/dev/sda", 1}},
		Ulimits: []Ulimit{{"nofile", 1, -1}, {"core", -1, -1}}, ShmSize: 1}
	if err := full.Validate("container web"); err != nil {
		t.Errorf("got %v, want no error", err)
	}
}

func TestWarnings(t *testing.T) {
	for _, tc := range []struct {
		limits Limits
		want   int
	}{{Limits{OOMKillDisable: true}, 1}, {Limits{OOMKillDisable: true, Memory: MinMemory}, 0}, {Limits{}, 0}} {
		if got := tc.limits.Warnings(); len(got) != tc.want {
			t.Errorf("%+v: got %q", tc.limits, got)
		}
	}
}

func TestDefaults(t *testing.T) {
	d := Defaults{ShmSize: 5, OOMScoreAdj: 7}
	got := Limits{Memory: 10}.WithDefaults(d)
	if got.MemorySwap != 20 || got.ShmSize != 5 || *got.OOMScoreAdj != 7 {
		t.Errorf("got %+v, want the defaults", got)
	}
	if got := (Limits{Memory: 10}).WithDefaults(Defaults{NoSwapLimit: true}); got.MemorySwap != -1 {
		t.Errorf("got %+v, want unlimited swap", got)
	}
	set := Limits{Memory: 10, MemorySwap: 15, ShmSize: 1, OOMScoreAdj: ptr(0)}
	if got := set.WithDefaults(d); got.MemorySwap != 15 || got.ShmSize != 1 || *got.OOMScoreAdj != 0 {
		t.Errorf("got %+v, want it unchanged", got)
	}

	merged := MergeUlimits([]Ulimit{{"nofile", 1, 2}}, []Ulimit{{"nofile", 9, 9}, {"core", 0, 0}})
	if len(merged) != 2 || merged[0].Soft != 1 || merged[1].Name != "core" {
		t.Errorf("got %v, want nofile=1:2 and core=0", merged)
	}
}
