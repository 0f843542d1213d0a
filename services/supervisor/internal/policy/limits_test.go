package policy_test

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
)

func TestCheckLimits(t *testing.T) {
	few, slow := egress.Limits{Connections: 1}, egress.Limits{Packets: egress.Packets{In: 1}}
	for _, c := range []struct {
		mode   container.Mode
		limits egress.Limits
		want   string
	}{
		{container.ModeHost, egress.Limits{}, ""}, {"bridge", few, ""}, {"front", slow, ""},
		{container.ModeHost, few, "cannot be limited on network host"},
		{container.ModeNone, slow, "cannot be limited on network none"},
		{"container:web", few, "set --max-connections on that container"},
		{"container:web", slow, "set --packets on that container"},
	} {
		err := policy.CheckLimits("box", c.mode, c.limits)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %+v: got %v, want %q", c.mode, c.limits, err, c.want)
		}
	}
}
