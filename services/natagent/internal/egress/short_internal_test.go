package egress

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
)

func TestShortIDsFollowChanges(t *testing.T) {
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	first, second := &plan.Plan{}, &plan.Plan{}
	installed := map[string]*plan.Plan{a: first}
	var s shortIDs
	check := func(owner string, want *plan.Plan) {
		t.Helper()
		if got := s.find(installed, id.Short(owner)); got != want {
			t.Errorf("container %s: got %p, want %p", id.Short(owner), got, want)
		}
	}
	check(a, first)
	check(b, nil)
	installed[b] = second
	check(b, second)
	delete(installed, a)
	check(a, nil)
	installed[a] = second
	check(a, second)
}
