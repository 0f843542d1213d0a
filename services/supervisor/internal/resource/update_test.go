package resource_test

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/supervisor/internal/resource"
)

func TestUpdated(t *testing.T) {
	has := resource.Limits{Memory: 64 << 20, MemorySwap: 128 << 20, CPUShares: 512, PidsLimit: new(int64(9))}
	for name, test := range map[string]struct {
		change resource.Limits
		want   func(resource.Limits) bool
		err    string
	}{
		"nothing": {resource.Limits{}, func(r resource.Limits) bool { return r.Memory == 64<<20 }, ""},
		"memory": {resource.Limits{Memory: 32 << 20},
			func(r resource.Limits) bool {
				return r.Memory == 32<<20 && r.CPUShares == 512 && *r.PidsLimit == 9
			}, ""},
		"swap, too": {resource.Limits{Memory: 256 << 20, MemorySwap: -1},
			func(r resource.Limits) bool { return r.MemorySwap == -1 }, ""},
		"above swap": {resource.Limits{Memory: 256 << 20}, nil, "already set memoryswap limit"},
		"too small":  {resource.Limits{Memory: 1}, nil, "Minimum memory limit allowed is 6MB"},
		"pids": {resource.Limits{PidsLimit: new(int64(-1))},
			func(r resource.Limits) bool { return *r.PidsLimit == -1 }, ""},
	} {
		got, err := has.Updated("container web", test.change)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: got %v", name, err)
			}
		} else if err != nil || !test.want(got) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}
