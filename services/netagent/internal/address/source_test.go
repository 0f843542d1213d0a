package address

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// growth is a source that provides nothing, for a reason.
type growth struct{ why error }

func (g growth) More(context.Context, network.PoolShortage) error { return g.why }

func TestExhaustedPoolNamesWhyItCannotGrow(t *testing.T) {
	n := network.Network{Name: "app"}
	pool := network.Pool{Subnet: netip.MustParsePrefix("10.128.0.0/29")}
	for name, c := range map[string]struct {
		why  error
		kind fault.Kind
		want string
	}{
		"store away": {fault.New(fault.Unavailable, "store", "cannot be reached"), fault.Unavailable,
			", and it cannot grow: store: cannot be reached"},
		"all taken": {fault.New(fault.Exhausted, "network app", "has no free block"), fault.Exhausted,
			", and it cannot grow: has no free block"},
		"ended": {context.Canceled, fault.Exhausted, "context canceled"},
	} {
		err := Retry(t.Context(), growth{c.why}, func() error { return exhausted(n, pool) })
		if fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) ||
			!strings.Contains(err.Error(), "no available IPv4 addresses") {
			t.Errorf("%s: got error %v", name, err)
		}
	}
}
