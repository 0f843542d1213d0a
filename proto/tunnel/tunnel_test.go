package tunnel

import "testing"

func TestOverheadOfTunnels(t *testing.T) {
	for _, c := range []struct {
		encrypted, over6 bool
		want             int
	}{{false, false, 50}, {false, true, 70}, {true, false, 60}, {true, true, 80}} {
		if got := Overhead(c.encrypted, c.over6); got != c.want {
			t.Errorf("encrypted %t, over IPv6 %t: got %d, want %d", c.encrypted, c.over6, got, c.want)
		}
	}
}
