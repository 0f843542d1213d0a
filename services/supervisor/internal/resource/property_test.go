package resource_test

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/resource"
)

// limits draws limits that are valid more often than not.
func limits(t *rapid.T) resource.Limits {
	size := func(label string) int64 {
		return rapid.SampledFrom([]int64{0, 0, 1, resource.MinMemory, 64 << 20, 128 << 20, -1}).Draw(t, label)
	}
	return resource.Limits{
		Memory: size("memory"), MemorySwap: size("swap"), MemoryReservation: size("reservation"),
		NanoCPUs:    rapid.SampledFrom([]int64{0, 0, 1e9, 1, -1}).Draw(t, "cpus"),
		CPUShares:   rapid.SampledFrom([]int64{0, 2, 512, 262145}).Draw(t, "shares"),
		CPUPeriod:   rapid.SampledFrom([]int64{0, 0, 1000, 999}).Draw(t, "period"),
		CPUQuota:    rapid.SampledFrom([]int64{0, -1, 1000, 1}).Draw(t, "quota"),
		CpusetCPUs:  rapid.SampledFrom([]string{"", "0-2,4", "2-1"}).Draw(t, "cpuset"),
		BlkioWeight: rapid.SampledFrom([]uint16{0, 10, 9}).Draw(t, "weight"),
		PidsLimit:   rapid.SampledFrom([]*int64{nil, new(int64(-1)), new(int64(7)), new(int64(-2))}).Draw(t, "pids"),
	}
}

// TestUpdateProperty: an update is refused with a fault of the request, or its result is valid, the
// same again, and equal to the limits before where the update is zero.
func TestUpdateProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		has, change := limits(t), limits(t)
		before := has
		got, err := has.Updated("container web", change)
		if !reflect.DeepEqual(has, before) {
			t.Fatalf("the limits before the update were changed to %+v", has)
		}
		if err != nil {
			if !fault.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), "container web: ") {
				t.Fatalf("got %v, want an invalid request of container web", err)
			}
			return
		}

		if err := got.Validate("container web"); err != nil {
			t.Fatalf("the result %+v is invalid: %v", got, err)
		}
		again, err := got.Updated("container web", change)
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Fatalf("the same update of %+v: got %+v, %v", got, again, err)
		}
		same, err := got.Updated("container web", resource.Limits{})
		if err != nil || !reflect.DeepEqual(same, got) {
			t.Fatalf("an empty update of %+v: got %+v, %v", got, same, err)
		}
		checkFields(t, before, change, got)
	})
}

// checkFields compares each field of an updated value with the one that it must have.
func checkFields(t *rapid.T, before, change, got resource.Limits) {
	b, c, g := reflect.ValueOf(before), reflect.ValueOf(change), reflect.ValueOf(got)
	for i := range g.NumField() {
		want := c.Field(i)
		if want.IsZero() {
			want = b.Field(i)
		}
		if !reflect.DeepEqual(g.Field(i).Interface(), want.Interface()) {
			t.Fatalf("%s: got %v, want %v", g.Type().Field(i).Name, g.Field(i), want)
		}
	}
}

// TestDefaultsProperty: defaults only fill what is not set, and filling twice changes nothing.
func TestDefaultsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := resource.Defaults{ShmSize: rapid.Int64Range(1, 9).Draw(t, "shm"), NoSwapLimit: rapid.Bool().Draw(t,
			"noswap"),
			OOMScoreAdj: rapid.IntRange(-5, 5).Draw(t, "adj")}
		has := limits(t)
		got := has.WithDefaults(d)
		if again := got.WithDefaults(d); !reflect.DeepEqual(again, got) {
			t.Fatalf("twice: got %+v, want %+v", again, got)
		}
		if got.ShmSize != d.ShmSize || (got.OOMScoreAdj == nil) != (d.OOMScoreAdj == 0) {
			t.Fatalf("got %+v, want the defaults %+v", got, d)
		}
		if has.MemorySwap != 0 && got.MemorySwap != has.MemorySwap || got.Memory != has.Memory {
			t.Fatalf("got %+v from %+v: set limits changed", got, has)
		}
	})
}
