package bootclock_test

import (
	"testing"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/bootclock"
)

func TestNowAdvances(t *testing.T) {
	first := bootclock.Now()
	time.Sleep(10 * time.Millisecond)
	second := bootclock.Now()

	if first.Boot == "" || first.Boot != second.Boot {
		t.Errorf("got boots %q and %q, want one", first.Boot, second.Boot)
	}
	if passed := second.Uptime - first.Uptime; passed < 10*time.Millisecond {
		t.Errorf("got %v between both, want at least 10ms", passed)
	}
}
