package natagent_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

// TestPutNetworkScales creates hundreds of networks, or FAIRLEAD_NETWORKS, and logs the time of each.
func TestPutNetworkScales(t *testing.T) {
	many, part := 300, 50
	if n, err := strconv.Atoi(os.Getenv("FAIRLEAD_NETWORKS")); err == nil {
		many = max(n, 2*part)
	}

	r, _ := fresh(t)
	var took []time.Duration
	begin := time.Now()
	for i := range many {
		start := time.Now()
		_, err := r.PutNetwork(context.Background(),
			&natv1.PutNetworkRequest{Network: &natv1.FirewallNetwork{Id: networkID(i), Bridge: fmt.Sprintf("br%d", i),
				Subnets:    []string{fmt.Sprintf("10.%d.%d.0/26", i/256, i%256), fmt.Sprintf("fd00:%x::/64", i)},
				Masquerade: true, Icc: true}})
		if err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(start))
	}

	quick := func(all []time.Duration) time.Duration {
		sorted := slices.Sorted(slices.Values(all))
		// a low quantile, to ignore other load of the host
		return sorted[len(sorted)/10]
	}

	first, last := quick(took[:part]), quick(took[many-part:])
	t.Logf("%d networks in %s; one of the first took %s, one of the last %s", many,
		time.Since(begin).Round(time.Millisecond), first, last)

	if last > 3*first+10*time.Millisecond {
		t.Errorf("late networks took %s, early ones %s", last, first)
	}
}
