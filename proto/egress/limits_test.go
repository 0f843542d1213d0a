package egress_test

import (
	"testing"

	"github.com/fairlead/fairlead/proto/egress"
)

func TestParsePackets(t *testing.T) {
	for text, want := range map[string]egress.Packets{"1000": {In: 1000, Out: 1000}, "in=5": {In: 5},
		"out=7,in=5": {In: 5, Out: 7}, "none": {}} {
		got, err := egress.ParsePackets(text)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
		if again, err := egress.ParsePackets(got.String()); want != (egress.Packets{}) && (err != nil || again != got) {
			t.Errorf("%s: got %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "-1", "in=", "in=1,in=2", "up=1", "in=1,", "5000000000", "1k"} {
		if got, err := egress.ParsePackets(text); err == nil {
			t.Errorf("%q: got %+v", text, got)
		}
	}
}
