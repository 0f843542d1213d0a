package egress

import (
	"context"
	"errors"
	"testing"

	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
)

// A policy whose caller has gone is not stored.
func TestCallersThatHaveGone(t *testing.T) {
	e := &Enforcer{} // without a store
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 { // the queue can be entered again
		if _, err := e.put(ctx, &plan.Container{Owner: "a"}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
	}
}
