package run_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/service"
	"github.com/fairlead/fairlead/proto/fault"
	agentv1 "github.com/fairlead/fairlead/proto/gen/fairlead/agent/v1"
)

func dnsService() service.Spec {
	return service.Spec{Name: "dns", New: newFake(&fake{name: "dns"})}
}

// checking is a service that rejects an MTU before it is applied.
func checking(s service.Spec, refuse int) service.Spec {
	s.Check = func(_ context.Context, _ service.Service, h service.Deps) error {
		if h.Config.MTU == refuse {
			return fault.New(fault.Conflict, "service "+s.Name, "could not take it")
		}
		return nil
	}
	return s
}

// inEffect returns the MTUs that are in effect in the processes.
func (r *roots) inEffect(sockets ...string) (out []string) {
	for _, s := range sockets {
		out = append(out, r.shown(s, "mtu"))
	}
	return out
}

func TestReloadRejectedInOneProcessAppliesNowhere(t *testing.T) {
	r := newRoots(t)
	var net, nat, own []int
	r.start("net", false, taking(netService(), &net, 0))
	r.start("nat", false, checking(taking(natService(), &nat, 0), 1400))
	r.start("dns", false, dnsService())
	r.start("supervisor", true, taking(supervisorService(), &own, 0))
	r.write(flag("mtu", "1400"))
	for _, dry := range []bool{true, false} {
		res, err := agentv1.NewConfigServiceClient(r.dial("fairlead")).ReloadConfig(r.ctx,
			&agentv1.ReloadConfigRequest{DryRun: dry})
		if err == nil || !strings.Contains(err.Error(), "service nat: could not take it") {
			t.Errorf("dry %v: %v, %v", dry, res, err)
		}
	}
	if len(net)+len(nat)+len(own) != 0 {
		t.Errorf("the services got MTUs %v, %v and %v", net, nat, own)
	}
	if got, was := r.inEffect("fairlead", "net", "nat", "dns"),
		"mtu=1500 (default)"; !slices.Equal(got, []string{was, was, was, was}) {
		t.Errorf("in effect: %v", got)
	}
	r.write(flag("mtu", "1300"))
	if _, err := r.reload("fairlead"); err != nil {
		t.Errorf("another configuration: %v", err)
	}
	if got, now := r.inEffect("fairlead", "net", "nat", "dns"),
		"mtu=1300 (flag --mtu)"; !slices.Equal(got, []string{now, now, now, now}) {
		t.Errorf("in effect: %v", got)
	}
}

func TestReloadFailedInOneProcessIsReverted(t *testing.T) {
	r := newRoots(t)
	var net, nat, own []int
	r.start("net", false, taking(netService(), &net, 0))
	r.start("nat", false, taking(natService(), &nat, 1400))
	r.start("dns", false, dnsService())
	r.start("supervisor", true, taking(supervisorService(), &own, 0))
	r.write(flag("mtu", "1400"))
	if res, err := r.reload("fairlead"); err == nil || !strings.Contains(err.Error(), "service nat: does not take it") {
		t.Errorf("%v, %v", res, err)
	}
	if back := []int{1400, 1500}; !slices.Equal(net, back) || !slices.Equal(nat, back[:1]) || !slices.Equal(own, back) {
		t.Errorf("the services got MTUs %v, %v and %v", net, nat, own)
	}
	if got, was := r.inEffect("fairlead", "net", "nat", "dns"),
		"mtu=1500 (default)"; !slices.Equal(got, []string{was, was, was, was}) {
		t.Errorf("in effect: %v", got)
	}
}

func TestRevertWithoutReloadChangesNothing(t *testing.T) {
	r := newRoots(t)
	var mtus []int
	r.start("agent", true, taking(natService(), &mtus, 0))
	revert := func() {
		t.Helper()
		if _, err := agentv1.NewConfigServiceClient(r.dial("nat")).ReloadConfig(r.ctx,
			&agentv1.ReloadConfigRequest{Revert: true}); err != nil {
			t.Error(err)
		}
	}
	revert()
	r.write(flag("mtu", "1400"))
	if _, err := r.reload("nat"); err != nil {
		t.Error(err)
	}
	revert()
	revert()
	if !slices.Equal(mtus, []int{1400, 1500}) || r.shown("nat", "mtu") != "mtu=1500 (default)" {
		t.Errorf("the service got MTUs %v; in effect: %s", mtus, r.shown("nat", "mtu"))
	}
}
