package cli

import (
	"context"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

// TestLostHostIsNamed checks that a warning has the host's name, whichever agent gives up first.
func TestLostHostIsNamed(t *testing.T) {
	h := &fleetv1.Host{Name: "three", Address: "10.99.0.3"}
	for _, err := range []error{
		context.DeadlineExceeded,
		fault.New(fault.Unavailable, "fleetagent", "did not respond in time"),
		fault.New(fault.Unavailable, "host three", "cannot be reached"),
		fault.New(fault.Denied, "host three", "is no manager"),
	} {
		if got := unanswered(h, err); !strings.Contains(got, "host three") {
			t.Errorf("%v: got %q", err, got)
		}
	}
}
