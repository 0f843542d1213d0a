package prunefilter_test

import (
	"slices"
	"testing"
	"time"

	"github.com/fairlead/fairlead/ctl/internal/prunefilter"
)

func TestParse(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	f, err := prunefilter.Parse([]string{"until=1h", "until=2h", "until=30m", "label=a", "label!=b=1"}, now)
	if err != nil || !f.Until.AsTime().Equal(now.Add(-2*time.Hour)) || !slices.Equal(f.Labels, []string{"a"}) ||
		!slices.Equal(f.Exclude, []string{"b=1"}) {
		t.Errorf("got %v, %v", f, err)
	}

	for _, text := range []string{"1790000000", "2026-09-21T14:13:20Z", "2026-09-21T16:13:20+02:00"} {
		f, err := prunefilter.Parse([]string{"until=" + text}, now)
		if err != nil || f.Until.GetSeconds() != 1790000000 {
			t.Errorf("%s: got %v, %v", text, f.Until, err)
		}
	}
	if f, err := prunefilter.Parse([]string{"until=2026-09-21"}, now); err != nil || f.Until == nil {
		t.Errorf("got %v, %v", f.Until, err)
	}

	for _, bad := range []string{"until=x", "until", "name=x", "label"} {
		if _, err := prunefilter.Parse([]string{bad}, now); err == nil {
			t.Errorf("%s: got no error", bad)
		}
	}
}
