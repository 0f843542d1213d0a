package protoconv

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/devicerequest"
	"github.com/fairlead/fairlead/services/supervisor/internal/logdriver"
	"github.com/fairlead/fairlead/services/supervisor/internal/resource"
)

func TestOptionsSurviveConversion(t *testing.T) {
	yes, swappiness, pids, score := true, int64(5), int64(-1), -7
	rates := func(path string) []resource.DeviceRate { return []resource.DeviceRate{{Path: path, Rate: 50}} }
	want := container.Config{
		Network: container.Network{}.Normalized(),
		Resources: resource.Limits{Memory: 1, MemorySwap: -1, MemoryReservation: 3, MemorySwappiness: &swappiness,
			OOMKillDisable: true, OOMScoreAdj: &score, NanoCPUs: 4, CPUShares: 5, CPUPeriod: 6, CPUQuota: 7,
			CpusetCPUs: "0", CpusetMems: "1", PidsLimit: &pids, BlkioWeight: 8, BlkioWeightDevices: rates("a"),
			DeviceReadBps: rates("b"), DeviceWriteBps: rates("c"), DeviceReadIOps: rates("d"),
			DeviceWriteIOps: rates("e"), Ulimits: []resource.Ulimit{{Name: "core", Soft: 1, Hard: -1}}, ShmSize: 9},
		Security: container.Security{Privileged: true, CapAdd: []string{"a"}, CapDrop: []string{"b"},
			Options: []string{"c"}, DeviceRules: []string{"d"}, Groups: []string{"e"}, ReadOnly: true,
			Devices: []container.Device{{HostPath: "a", ContainerPath: "b", Permissions: "r"}},
			DeviceRequests: []devicerequest.Request{{Driver: "a", Count: -1, IDs: []string{"b"},
				Capabilities: [][]string{{"c"}, {"d", "e"}}}}},
		Namespaces:  container.Namespaces{IPC: "a", PID: "b", Cgroup: "c", User: "d", CgroupParent: "e"},
		Mounts:      []container.Mount{{Source: "/a", Target: "/b", BindText: "/a:/b:rw"}},
		Init:        &yes,
		Annotations: map[string]string{"a": "b"},
		Log:         logdriver.Config{Driver: "a", Options: map[string]string{"b": "c"}},
	}
	got, err := ConfigFromProto(configToProto(&want))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want.Resources, got.Resources); d != "" {
		t.Errorf("resources (-want +got):\n%s", d)
	}
	if d := cmp.Diff(want.Security, got.Security); d != "" {
		t.Errorf("security (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]any{want.Namespaces, want.Mounts, want.Init, want.Annotations, want.Log},
		[]any{got.Namespaces, got.Mounts, got.Init, got.Annotations, got.Log}); d != "" {
		t.Errorf("namespaces (-want +got):\n%s", d)
	}
}
