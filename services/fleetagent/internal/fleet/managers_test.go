package fleet

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/quorum"
	"github.com/fairlead/fairlead/services/fleetagent/internal/token"
)

// members returns the members of the store, such as "1 voter, 2 learner", by the number of the host.
func (h *host) members() ([]quorum.Member, string) {
	h.t.Helper()
	p, err := h.current()
	if err != nil {
		h.t.Fatal(err)
	}
	list, err := p.client.Members(context.Background())
	if err != nil {
		return nil, err.Error()
	}
	var all []string
	for _, m := range list {
		kind := "voter"
		if m.Learner {
			kind = "learner"
		}
		if !m.Started {
			kind += " not started"
		}
		host := strings.TrimSuffix(strings.TrimPrefix(m.PeerURL, fmt.Sprintf("https://10.7.%d.", network(h.t))),
			":7452")
		all = append(all, host+" "+kind)
	}
	slices.Sort(all)
	return list, strings.Join(all, ", ")
}

// awaitMembers waits until the store has the members.
func (h *host) awaitMembers(want string) {
	h.t.Helper()
	got := ""
	if eventually(func() bool {
		_, got = h.members()
		return got == want
	}) {
		return
	}
	h.t.Fatalf("%s: got members %q, want %q", h.name, got, want)
}

// writes waits until a write is accepted.
func (h *host) writes() {
	h.t.Helper()
	var err error
	if !eventually(func() bool {
		_, _, err = h.IssueToken(context.Background(), time.Hour, 1, token.Member)
		return err == nil
	}) {
		h.t.Fatalf("%s: no write is accepted: %v", h.name, err)
	}
}

// crash kills the agent and the store of a host.
func (h *host) crash() {
	h.t.Helper()
	h.stop()
	pid := 0
	data, err := os.ReadFile(h.cfg.StoreDir + "/fairlead.lock")
	if err == nil {
		_, err = fmt.Sscan(string(data), &pid)
	}
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) is(role fleetv1.HostRole) bool {
	r, err := h.Get(context.Background())
	return err == nil && r.GetRole() == role
}

func TestManagersComeAndGo(t *testing.T) {
	t.Parallel()
	one, two, three := newHost(t, 1), newHost(t, 2), newHost(t, 3)
	two.join(one.found())
	if _, err := two.PromoteHost(context.Background(), "host2"); err == nil ||
		!strings.Contains(err.Error(), "is not a manager") {
		t.Errorf("a member promotes itself: got error %v", err)
	}
	if _, err := one.DemoteHost(context.Background(), "host1"); err == nil ||
		!strings.Contains(err.Error(), "is the only manager") {
		t.Errorf("the only manager is demoted: got error %v", err)
	}
	one.await("host1 alive, host2 alive")
	if _, err := one.PromoteHost(context.Background(), "host2"); err != nil {
		t.Fatal(err)
	}
	one.awaitMembers("1 voter, 2 learner")
	if !two.is(fleetv1.HostRole_HOST_ROLE_MANAGER) {
		t.Error("host2 is not a manager")
	}

	word, _, err := two.IssueToken(context.Background(), time.Hour, 1, token.Manager)
	if err != nil {
		t.Fatal(err)
	}
	three.join(word)
	one.awaitMembers("1 voter, 2 voter, 3 voter")
	if !three.is(fleetv1.HostRole_HOST_ROLE_MANAGER) {
		t.Error("host3 is not a manager")
	}
	loseLeader(t, one, two, three)
	for _, h := range []*host{one, two, three} {
		h.await("host1 alive, host2 alive, host3 alive")
	}

	if _, err := three.DemoteHost(context.Background(), "host1"); err != nil {
		t.Fatal(err)
	}
	three.awaitOneVoter()
	if !eventually(func() bool { return !one.is(fleetv1.HostRole_HOST_ROLE_MANAGER) && !one.store().Exists() }) {
		t.Fatal("host1 is still a manager")
	}
	one.await("host1 alive, host2 alive, host3 alive")

	if err := two.Leave(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	three.awaitMembers("3 voter")
	three.await("host1 alive, host3 alive")
	if two.store().Exists() || two.store().Running() {
		t.Error("a manager that has left has a store")
	}
}

// awaitOneVoter waits until the hosts 2 and 3 have a voter and a learner.
func (h *host) awaitOneVoter() {
	h.t.Helper()
	got := ""
	if eventually(func() bool {
		_, got = h.members()
		return got == "2 voter, 3 learner" || got == "2 learner, 3 voter"
	}) {
		return
	}
	h.t.Fatalf("got members %q, want one voter of the hosts 2 and 3", got)
}

// loseLeader kills the leader of the store, whose hosts are all voters, and commands the others.
func loseLeader(t *testing.T, hosts ...*host) {
	t.Helper()
	for _, h := range hosts { // each knows all addresses of the store
		if !eventually(func() bool {
			r, err := h.Get(context.Background())
			return err == nil && len(r.GetStore()) == len(hosts)
		}) {
			t.Fatalf("%s does not know all addresses of the store", h.name)
		}
		h.writes()
	}

	list, _ := hosts[0].members()
	leader := slices.IndexFunc(hosts, func(h *host) bool {
		return slices.ContainsFunc(list, func(m quorum.Member) bool {
			return m.Leader && strings.Contains(m.PeerURL, h.address+":")
		})
	})
	if leader < 0 {
		t.Fatalf("got no leader in %v", list)
	}
	hosts[leader].crash()
	// Commands wait for another leader. They are not repeated here.
	var text string
	for i, h := range hosts {
		if i == leader {
			continue
		}
		var err error
		if text, _, err = h.IssueToken(context.Background(), time.Hour, 1, token.Member); err != nil {
			t.Errorf("%s, between two leaders: %v", h.name, err)
		}
	}
	four := newHost(t, 4)
	four.join(text)
	if _, err := hosts[(leader+1)%len(hosts)].RemoveHost(context.Background(), "host4", true); err != nil {
		t.Error(err)
	}
	four.stop()
	hosts[leader].start()
}

// A member of the store that could not start knows the members that were added meanwhile.
func TestLateMemberStarts(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	one, two, third := newHost(t, 1), newHost(t, 2), newHost(t, 3)
	two.join(one.found())
	third.join(one.token(1))
	one.await("host1 alive, host2 alive, host3 alive")
	restart := func(program string) {
		two.stop()
		one.await("host1 alive, host2 suspect, host3 alive")
		two.cfg.StoreProgram = program
		two.start()
		one.await("host1 alive, host2 alive, host3 alive")
	}
	good := two.cfg.StoreProgram
	restart("/nonexistent/fairlead-store")
	p, err := one.current()
	must0(t, err)
	a, err := p.admission()
	must0(t, err)
	promoted := make(chan error)
	go func() {
		_, err := one.PromoteHost(ctx, "host2")
		promoted <- err
	}()
	one.awaitMembers("1 voter, 2 learner not started")
	_, err = a.Demote(ctx, two.id(), one.id())
	must0(t, err)
	wants(t, <-promoted, fault.Conflict, "was made a member meanwhile")
	one.awaitMembers("1 voter")

	_, err = a.Promote(ctx, two.id())
	must0(t, err)
	one.awaitMembers("1 voter, 2 learner not started")
	late, err := two.current()
	must0(t, err)
	if !eventually(func() bool { return late.membership().Member != nil }) {
		t.Fatal("host2 is not appointed")
	}
	_, err = a.Promote(ctx, third.id())
	must0(t, err)
	if !eventually(func() bool {
		_, got := one.members()
		return strings.Contains(got, ", 3 ")
	}) {
		t.Fatal("host3 has no member of the store")
	}
	restart(good)
	one.awaitMembers("1 voter, 2 voter, 3 voter")
}
