package spec

import (
	"encoding/json"
	"testing"

	"github.com/fairlead/fairlead/services/supervisor/internal/resource"
)

func TestLimits(t *testing.T) {
	swappiness, pids, none := int64(60), int64(100), int64(-1)
	numbers := map[string]DeviceNumber{"/dev/sda": {8, 0}}
	sda := func(rate uint64) []resource.DeviceRate {
		return []resource.DeviceRate{{Path: "/dev/sda", Rate: rate}}
	}
	for want, r := range map[string]resource.Limits{
		`{"pids":{"limit":4096}}`: {},
		`{}`:                      {PidsLimit: &none},
		`{"pids":{"limit":100}}`:  {PidsLimit: &pids},
		`{"memory":{"limit":10,"reservation":5,"swap":20,"swappiness":60,` +
			`"disableOOMKiller":true}}`: {
			Memory: 10, MemorySwap: 20, MemoryReservation: 5, MemorySwappiness: &swappiness, OOMKillDisable: true,
			PidsLimit: &none},
		`{"memory":{"limit":10}}`:                  {Memory: 10, MemorySwap: -1, PidsLimit: &none},
		`{"cpu":{"quota":150000,"period":100000}}`: {NanoCPUs: 15e8, PidsLimit: &none},
		`{"cpu":{"shares":512,"quota":-1,"period":5000,"cpus":"0-1","mems":"0"}}`: {CPUShares: 512, CPUQuota: -1,
			CPUPeriod: 5000, CpusetCPUs: "0-1", CpusetMems: "0", PidsLimit: &none},
		`{"blockIO":{"weight":500,"weightDevice":[{"major":8,"minor":0,"weight":20}],` +
			`"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1}],"throttleWriteIOPSDevice":[{"major":8,"minor":0,` +
			`"rate":2}]}}`: {BlkioWeight: 500, BlkioWeightDevices: sda(20), DeviceReadBps: sda(1),
			DeviceWriteIOps: sda(2), PidsLimit: &none},
	} {
		got, err := json.Marshal(Limits(r, 4096, numbers))
		if err != nil || string(got) != want {
			t.Errorf("%+v: got %s, %v, want %s", r, got, err, want)
		}
	}
}

func TestBuildSetsLimitsOfProcess(t *testing.T) {
	o, score := base(), 500
	o.Resources.ShmSize = 1 << 20
	o.Process.OOMScoreAdj, o.Process.Ulimits = &score, []resource.Ulimit{{Name: "nofile", Soft: 1, Hard: -1}}
	s, err := Build(o)
	if err != nil {
		t.Fatal(err)
	}
	if l := s.Process.Rlimits; len(l) != 1 || l[0].Type != "RLIMIT_NOFILE" || l[0].Soft != 1 || l[0].Hard != 1<<64-1 {
		t.Errorf("got rlimits %v", l)
	}
	if *s.Process.OOMScoreAdj != 500 {
		t.Errorf("got score %d, want 500", *s.Process.OOMScoreAdj)
	}
	for _, m := range s.Mounts {
		if m.Destination == "/dev/shm" && m.Options[len(m.Options)-1] != "size=1048576" {
			t.Errorf("got options %v of /dev/shm, want 1 MiB", m.Options)
		}
	}
}

func TestPrivilegesBoundLimits(t *testing.T) {
	h := Host{MaxUlimits: map[string]uint64{"nofile": 100, "core": 1<<64 - 1}, MinOOMScoreAdj: -5}
	refused := []resource.Ulimit{{Name: "nofile", Soft: 1, Hard: 101}}
	if h.CheckUlimits("container", "ulimit", refused) == nil || (Host{}).CheckUlimits("container", "", refused) != nil {
		t.Error("got a limit above the agent's own accepted, or rejected with CAP_SYS_RESOURCE")
	}
	if h.CheckUlimits("c", "", []resource.Ulimit{{Name: "nofile", Soft: 1, Hard: -1}}) == nil {
		t.Error("got unlimited files accepted, want an error")
	}
	accepted := []resource.Ulimit{{Name: "nofile", Hard: 100}, {Name: "core", Hard: -1}}
	if err := h.CheckUlimits("c", "", accepted); err != nil {
		t.Errorf("got %v, want no error", err)
	}
	low, same := -6, -5
	if h.CheckOOMScoreAdj("c", &low) == nil || h.CheckOOMScoreAdj("c", &same) != nil ||
		h.CheckOOMScoreAdj("c", nil) != nil {
		t.Error("oom-score-adj: got the wrong bound, want -5")
	}
}
