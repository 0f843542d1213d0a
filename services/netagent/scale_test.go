package netagent

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// TestNetworkCreationTimeIsConstant makes hundreds of real ones, or as many as FAIRLEAD_NETWORKS says, with distinct subnets.
func TestNetworkCreationTimeIsConstant(t *testing.T) {
	many, part := 300, 50
	if n, err := strconv.Atoi(os.Getenv("FAIRLEAD_NETWORKS")); err == nil {
		many = max(n, 2*part)
	}
	a := newHost(t).run()
	var took []time.Duration
	var subnets []netip.Prefix
	begin := time.Now()
	for i := range many {
		start := time.Now()
		n := a.named(fmt.Sprintf("n%d", i))
		took = append(took, time.Since(start))
		subnets = append(subnets, n.Pools[0].Subnet)
	}
	first, last := tenth(took[:part]), tenth(took[many-part:])
	t.Logf("%d networks in %s; one of the first took %s, one of the last %s", many, time.Since(begin).Round(time.Millisecond), first, last)
	slices.SortFunc(subnets, func(x, y netip.Prefix) int { return x.Addr().Compare(y.Addr()) })
	for i := range subnets[1:] {
		if subnets[i].Overlaps(subnets[i+1]) {
			t.Fatalf("%s and %s overlap", subnets[i], subnets[i+1])
		}
	}
	if last > 3*first+10*time.Millisecond { // what grows with their number would do so further
		t.Errorf("one of the last took %s, one of the first %s", last, first)
	}
	start := time.Now()
	sb := a.create(on(id.New(), network.EndpointSpec{Network: fmt.Sprintf("n%d", many-1)}))
	t.Logf("a sandbox on the last in %s", time.Since(start))
	a.mustReach(sb.NetnsPath, sb.Endpoints[0].Gateway4.String())
}

// tenth is what nearly all need at least, so that what else runs on the machine counts little.
func tenth(all []time.Duration) time.Duration {
	sorted := slices.Clone(all)
	slices.Sort(sorted)
	return sorted[len(sorted)/10]
}
