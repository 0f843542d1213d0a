package network_test

import (
	"testing"
	"time"

	"github.com/fairlead/fairlead/services/netagent/network"
)

func TestASelectionTakesWhatFitsAllOfIt(t *testing.T) {
	made := time.Unix(1_790_000_000, 0)
	n := network.Network{CreatedAt: made}
	n.Labels = map[string]string{"env": "test", "empty": ""}
	for name, c := range map[string]struct {
		s    network.Selection
		fits bool
	}{
		"everything":                    {network.Selection{}, true},
		"made before":                   {network.Selection{Before: made.Add(time.Second)}, true},
		"made at that moment":           {network.Selection{Before: made}, false},
		"with a label":                  {network.Selection{Labels: []string{"env"}}, true},
		"with a label's value":          {network.Selection{Labels: []string{"env=test", "empty="}}, true},
		"with another value":            {network.Selection{Labels: []string{"env=prod"}}, false},
		"with a label that it has not":  {network.Selection{Labels: []string{"env", "nosuch"}}, false},
		"without a label":               {network.Selection{Without: []string{"empty"}}, false},
		"without a value":               {network.Selection{Without: []string{"env=prod", "nosuch"}}, true},
		"one thing fits, another not":   {network.Selection{Before: made.Add(time.Second), Without: []string{"env=test"}}, false},
		"with one label and no other's": {network.Selection{Labels: []string{"env"}, Without: []string{"nosuch"}}, true},
	} {
		if got := c.s.Fits(n); got != c.fits {
			t.Errorf("%s: %v", name, got)
		}
	}
}
