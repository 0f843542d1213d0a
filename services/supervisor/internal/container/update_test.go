package container_test

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

func TestUpdatedResources(t *testing.T) {
	has := container.Resources{Memory: 64 << 20, MemorySwap: 128 << 20, CPUShares: 512, PidsLimit: new(int64(9))}
	c := &container.Container{Config: container.Config{Name: "web", Resources: has}}
	for name, test := range map[string]struct {
		change container.Resources
		want   func(container.Resources) bool
		err    string
	}{
		"nothing": {container.Resources{}, func(r container.Resources) bool { return r.Memory == 64<<20 }, ""},
		"memory": {container.Resources{Memory: 32 << 20},
			func(r container.Resources) bool {
				return r.Memory == 32<<20 && r.CPUShares == 512 && *r.PidsLimit == 9
			}, ""},
		"swap, too": {container.Resources{Memory: 256 << 20, MemorySwap: -1},
			func(r container.Resources) bool { return r.MemorySwap == -1 }, ""},
		"above swap": {container.Resources{Memory: 256 << 20}, nil, "already set memoryswap limit"},
		"too small":  {container.Resources{Memory: 1}, nil, "Minimum memory limit allowed is 6MB"},
		"pids": {container.Resources{PidsLimit: new(int64(-1))},
			func(r container.Resources) bool { return *r.PidsLimit == -1 }, ""},
	} {
		got, err := c.UpdatedResources(test.change)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: got %v", name, err)
			}
		} else if err != nil || !test.want(got) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}
