package fence

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestGenerationsGrow(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, c := range []struct{ last, want uint64 }{{0, 1000}, {999, 1000}, {1000, 1001}, {5000, 5001}} {
		if got := Next(c.last, now); got != c.want {
			t.Errorf("after %d: got %d, want %d", c.last, got, c.want)
		}
	}
	if got := Next(7, time.Unix(-5, 0)); got != 8 {
		t.Errorf("with a clock before 1970: got %d, want 8", got)
	}
}

func TestReplacedStoreIsFenced(t *testing.T) {
	f := New(5)
	if err := errors.Join(f.Check(5), f.Check(6)); err != nil {
		t.Errorf("current store: %v", err)
	}
	known := map[string]uint64{"two": 4, "three": 9, "lost": 100}
	f.Ask(context.Background(), []string{"two", "three", "lost"}, func(_ context.Context, host string) (uint64, error) {
		if host == "lost" {
			return known[host], errors.New("does not answer")
		}
		return known[host], nil
	})
	if got := f.Known(); got != 9 {
		t.Errorf("got generation %d, want 9", got)
	}
	if err := f.Check(5); err == nil || !strings.Contains(err.Error(), "was replaced by that of generation 9") {
		t.Errorf("replaced store: got error %v", err)
	}
	if f.Learn(9) || f.Learn(3) || !f.Learn(10) {
		t.Error("a generation that is not new was learned as new, or a new one was not")
	}
}

func TestHostsAreAskedUntilOneAnswers(t *testing.T) {
	f, failure := New(5), errors.New("refuses an expired certificate")
	ask := func(hosts ...string) {
		f.Ask(context.Background(), hosts, func(context.Context, string) (uint64, error) { return 5, failure })
	}
	soon, late := time.Now(), time.Now().Add(2*time.Hour)
	for _, hosts := range [][]string{nil, {"two", "three"}} {
		if ask(hosts...); !f.Due(soon, time.Hour) {
			t.Errorf("hosts %v, no answer: not due", hosts)
		}
	}
	failure = nil
	if ask("two"); f.Due(soon, time.Hour) || !f.Due(late, time.Hour) {
		t.Errorf("after an answer: due is %t, an interval later %t", f.Due(soon, time.Hour), f.Due(late, time.Hour))
	}
	failure = errors.New("does not answer")
	if ask("two"); f.Due(soon, time.Hour) {
		t.Error("due after an earlier answer")
	}
}
