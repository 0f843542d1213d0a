package hostinfo

import (
	"fmt"
	"testing"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

func broken(host, reason string) *fleetv1.PathProblem {
	return &fleetv1.PathProblem{HostId: host, Reason: reason}
}

func TestEventsFollowFromChanges(t *testing.T) {
	name := func(id string) string { return "host-" + id }
	for what, c := range map[string]struct {
		before, after *fleetv1.HostInfo
		want          string
	}{
		"first": {nil, &fleetv1.HostInfo{UnderlayMtu: 1500}, "[]"},
		"same":  {&fleetv1.HostInfo{UnderlayMtu: 1500}, &fleetv1.HostInfo{UnderlayMtu: 1500}, "[]"},
		"MTU": {&fleetv1.HostInfo{UnderlayMtu: 1500}, &fleetv1.HostInfo{UnderlayMtu: 1400},
			"[{underlay_changed map[last_mtu:1500 mtu:1400]}]"},
		"address lost": {&fleetv1.HostInfo{UnderlayMtu: 1500}, &fleetv1.HostInfo{},
			"[{underlay_lost map[last_mtu:1500]}]"},
		"address returns": {&fleetv1.HostInfo{}, &fleetv1.HostInfo{UnderlayMtu: 1500},
			"[{underlay_changed map[last_mtu:0 mtu:1500]}]"},
		"path broken": {&fleetv1.HostInfo{}, &fleetv1.HostInfo{Problems: []*fleetv1.PathProblem{broken("a", "lost")}},
			"[{path_broken map[reason:lost to:host-a]}]"},
		"still broken": {&fleetv1.HostInfo{Problems: []*fleetv1.PathProblem{broken("a", "lost")}},
			&fleetv1.HostInfo{Problems: []*fleetv1.PathProblem{broken("a", "lost")}}, "[]"},
		"otherwise": {&fleetv1.HostInfo{Problems: []*fleetv1.PathProblem{broken("a", "lost")}},
			&fleetv1.HostInfo{Problems: []*fleetv1.PathProblem{broken("a", "too large")}},
			"[{path_broken map[reason:too large to:host-a]}]"},
		"restored": {&fleetv1.HostInfo{Problems: []*fleetv1.PathProblem{broken("a", "lost")}}, &fleetv1.HostInfo{},
			"[{path_restored map[to:host-a]}]"},
	} {
		if got := fmt.Sprint(Changes(c.before, c.after, Hosts{Known: map[string]bool{"a": true}},
			name)); got != c.want {
			t.Errorf("%s: got %s, want %s", what, got, c.want)
		}
		if got := Same(c.before, c.after); got != (what == "same" || what == "still broken") {
			t.Errorf("%s: got same %t", what, got)
		}
	}
}

func TestProblemsEndOnlyWhenPacketsArrive(t *testing.T) {
	before := func() *fleetv1.HostInfo {
		return &fleetv1.HostInfo{Problems: []*fleetv1.PathProblem{broken("a", "lost")}}
	}
	for what, c := range map[string]struct {
		hosts     Hosts
		reported  []*fleetv1.PathProblem
		want      string
		wantEvent string
	}{
		"restored":  {Hosts{map[string]bool{"a": true, "b": true}, true}, nil, "", "[{path_restored map[to:a]}]"},
		"not alive": {Hosts{map[string]bool{"a": false, "b": true}, true}, nil, "a: lost; ", "[]"},
		"returned, not checked yet": {Hosts{map[string]bool{"a": true, "b": true}, false}, nil, "a: lost; ",
			"[]"},
		"removed from the fleet": {Hosts{map[string]bool{"b": true}, true}, nil, "", "[]"},
		"another reason": {Hosts{map[string]bool{"a": true}, true},
			[]*fleetv1.PathProblem{broken("a", "too large")}, "a: too large; ",
			"[{path_broken map[reason:too large to:a]}]"},
		"another host": {Hosts{map[string]bool{"a": false, "b": true}, true},
			[]*fleetv1.PathProblem{broken("b", "lost")}, "a: lost; b: lost; ", "[{path_broken map[reason:lost to:b]}]"},
	} {
		after := &fleetv1.HostInfo{Problems: c.reported}
		Keep(before(), after, c.hosts)
		got := ""
		for _, p := range after.GetProblems() {
			got += p.GetHostId() + ": " + p.GetReason() + "; "
		}
		events := fmt.Sprint(Changes(before(), after, c.hosts, func(id string) string { return id }))
		if got != c.want || events != c.wantEvent {
			t.Errorf("%s: got problems %q and events %s, want %q and %s", what, got, events, c.want, c.wantEvent)
		}
	}
}

func TestBothEndsOfABrokenPathAreShown(t *testing.T) {
	host := func(id string, state fleetv1.HostState) *fleetv1.Host {
		return &fleetv1.Host{Id: id, Name: "host-" + id, State: state}
	}
	const alive, suspect = fleetv1.HostState_HOST_STATE_ALIVE, fleetv1.HostState_HOST_STATE_SUSPECT
	hosts := []*fleetv1.Host{host("a", alive), host("b", alive), host("c", alive), host("d", suspect)}
	infos := map[string]*fleetv1.HostInfo{
		"a": {Problems: []*fleetv1.PathProblem{broken("c", "lost"), broken("d", "lost"), broken("gone", "lost")}},
		"c": {Problems: []*fleetv1.PathProblem{broken("a", "too large")}},
		"d": {Problems: []*fleetv1.PathProblem{broken("b", "lost")}},
	}
	Problems(hosts, func(id string) *fleetv1.HostInfo { return infos[id] })
	got := ""
	for _, h := range hosts {
		for _, p := range h.GetProblems() {
			got += h.GetName() + " to " + p.GetName() + ": " + p.GetReason() + "; "
		}
	}
	if want := "host-a to host-c: lost; host-c to host-a: lost; "; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
