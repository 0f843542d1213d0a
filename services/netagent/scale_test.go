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
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
)

// TestNetworkCreationTimeIsConstant creates 300 networks, or as many as FAIRLEAD_NETWORKS requests.
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
		n := a.newNetwork(fmt.Sprintf("n%d", i))
		took = append(took, time.Since(start))
		subnets = append(subnets, n.Spec.Pools[0].Subnet)
	}

	first, last := tenthPercentile(took[:part]), tenthPercentile(took[many-part:])
	t.Logf("created %d networks in %s; first ones %s each, last ones %s each", many,
		time.Since(begin).Round(time.Millisecond), first, last)
	slices.SortFunc(subnets, func(x, y netip.Prefix) int { return x.Addr().Compare(y.Addr()) })
	for i := range subnets[1:] {
		if subnets[i].Overlaps(subnets[i+1]) {
			t.Fatalf("%s and %s overlap", subnets[i], subnets[i+1])
		}
	}
	if last > 3*first+10*time.Millisecond {
		t.Errorf("got %s for one of the last networks, %s for one of the first", last, first)
	}

	start := time.Now()
	sb := a.create(requestOn(id.New(), endpoint.Spec{Network: fmt.Sprintf("n%d", many-1)}))
	t.Logf("created a sandbox on the last network in %s", time.Since(start))
	a.mustReach(sb.NetnsPath, sb.Endpoints[0].Gateway4.String())
}

// tenthPercentile returns the 10th percentile, which other load on the machine hardly affects.
func tenthPercentile(all []time.Duration) time.Duration {
	sorted := slices.Clone(all)
	slices.Sort(sorted)
	return sorted[len(sorted)/10]
}
