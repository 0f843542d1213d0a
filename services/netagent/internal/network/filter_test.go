package network_test

import (
	"testing"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

func TestFilterFits(t *testing.T) {
	made := time.Unix(1_790_000_000, 0)
	n := network.Network{CreatedAt: made}
	n.Spec.Labels = map[string]string{"env": "test", "empty": ""}

	for name, c := range map[string]struct {
		s    network.Filter
		fits bool
	}{
		"everything":           {network.Filter{}, true},
		"made before":          {network.Filter{Before: made.Add(time.Second)}, true},
		"made at that moment":  {network.Filter{Before: made}, false},
		"with a label":         {network.Filter{Labels: []string{"env"}}, true},
		"with a label's value": {network.Filter{Labels: []string{"env=test", "empty="}}, true},
		"with another value":   {network.Filter{Labels: []string{"env=prod"}}, false},
		"with a missing label": {network.Filter{Labels: []string{"env", "nosuch"}}, false},
		"without a label":      {network.Filter{Without: []string{"empty"}}, false},
		"without a value":      {network.Filter{Without: []string{"env=prod", "nosuch"}}, true},
		"one condition fails": {network.Filter{Before: made.Add(time.Second), Without: []string{"env=test"}},
			false},
		"with one and without another": {network.Filter{Labels: []string{"env"}, Without: []string{"nosuch"}}, true},
	} {
		if got := c.s.Matches(n); got != c.fits {
			t.Errorf("%s: got %v, want %v", name, got, c.fits)
		}
	}
}
