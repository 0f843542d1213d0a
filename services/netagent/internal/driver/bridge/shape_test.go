package bridge_test

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/bandwidth"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// TestApplyLimitsBandwidth sets a limit, and removes it from an endpoint that was limited. An endpoint
// that never was limited costs no request.
func TestApplyLimitsBandwidth(t *testing.T) {
	ns, d, n := fixture(t, func(*network.Network) {})
	pin, e := connect(t, d, n, "172.17.0.2/16")
	limited := func() bool {
		return strings.Contains(ns.Run("tc", "qdisc", "show", "dev", e.HostInterface), "tbf")
	}

	e.Spec.Bandwidth = bandwidth.Limit{In: 8_000_000}
	for _, want := range []int{1, 0} {
		if changes := apply(t, d, n, pin, e); len(changes) != want || !limited() {
			t.Errorf("got changes %v, limited %t, want %d changes", changes, limited(), want)
		}
	}

	e.Limited, e.Spec.Bandwidth = e.IsLimited(), bandwidth.Limit{}
	for _, want := range []int{1, 0} {
		if changes := apply(t, d, n, pin, e); len(changes) != want || limited() {
			t.Errorf("without limit: got changes %v, limited %t, want %d changes", changes, limited(), want)
		}
	}

	ns.Run("tc", "qdisc", "replace", "dev", e.HostInterface, "root", "tbf", "rate", "8mbit", "burst", "16kb",
		"latency", "100ms")
	e.Limited = false
	if changes := apply(t, d, n, pin, e); len(changes) != 0 || !limited() {
		t.Errorf("never limited: got changes %v, limited %t", changes, limited())
	}
}
