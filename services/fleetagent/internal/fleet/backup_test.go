package fleet

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/fleetagent/internal/membership"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/token"
)

func TestOneManagerContinuesAlone(t *testing.T) {
	t.Parallel()
	one, two, three := newHost(t, 1), newHost(t, 2), newHost(t, 3)
	two.join(one.found())
	three.join(one.token(1))
	one.await("host1 alive, host2 alive, host3 alive")
	for _, name := range []string{"host2", "host3"} {
		if _, err := one.PromoteHost(context.Background(), name); err != nil {
			t.Fatal(err)
		}
	}
	one.awaitMembers("1 voter, 2 voter, 3 voter")
	two.await("host1 alive, host2 alive, host3 alive")
	two.writes()
	if err := two.Recover(context.Background()); fault.KindOf(err) != fault.Busy {
		t.Errorf("recovered with a leader: got error %v", err)
	}

	one.crash()
	three.crash()
	if err := two.Recover(context.Background()); err != nil {
		t.Fatal(err)
	}
	two.awaitMembers("2 voter")
	two.writes()
	two.await("host1 suspect, host2 alive, host3 suspect")
	for _, name := range []string{"host1", "host3"} {
		if _, err := two.RemoveHost(context.Background(), name, false); err != nil {
			t.Fatal(err)
		}
	}
	two.await("host2 alive")
	for _, h := range []*host{one, three} {
		if err := h.store().Remove(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReplacedStoreIsNotContinued: two of three managers return with their old store after the third one was
// recovered and is away. They have a majority of the old store.
func TestReplacedStoreIsNotContinued(t *testing.T) {
	t.Parallel()
	one, two, three, four := newHost(t, 1), newHost(t, 2), newHost(t, 3), newHost(t, 4)
	two.join(one.found())
	three.join(one.token(1))
	four.join(one.token(1))
	for _, name := range []string{"host2", "host3"} {
		one.await("host1 alive, host2 alive, host3 alive, host4 alive")
		if _, err := one.PromoteHost(context.Background(), name); err != nil {
			t.Fatal(err)
		}
	}
	one.awaitMembers("1 voter, 2 voter, 3 voter")
	two.await("host1 alive, host2 alive, host3 alive, host4 alive")
	one.crash()
	three.crash()
	must0(t, two.Recover(context.Background()))
	two.writes()
	p, err := four.current()
	must0(t, err)
	if !eventually(func() bool { return p.membership().Generation > 0 }) {
		t.Fatal("a member does not keep the generation of the store")
	}
	two.stop()
	must0(t, two.store().Stop(context.Background()))

	four.stop() // it keeps the generation, also over a restart
	four.start()
	one.expireCertificate() // other hosts must answer it nevertheless
	one.start()
	three.start()
	for _, h := range []*host{one, three} {
		if !eventually(func() bool { return strings.Contains(h.log.String(), "was replaced by that of generation ") }) {
			t.Errorf("%s does not notice that its store was replaced", h.name)
		}
		if h.store().Running() {
			t.Errorf("%s continues a store that was replaced", h.name)
		}
		if _, _, err := h.IssueToken(context.Background(), time.Hour, 1, token.Member); err == nil {
			t.Errorf("%s writes to a store that was replaced", h.name)
		}
	}
	two.start() // they get a copy of its store
	two.awaitMembers("1 voter, 2 voter, 3 voter")
	for _, h := range []*host{one, three} {
		h.await("host1 alive, host2 alive, host3 alive, host4 alive")
		h.writes()
	}
}

// TestAFollowerContinuesAlone: the second of two managers has a copy and no vote.
func TestAFollowerContinuesAlone(t *testing.T) {
	t.Parallel()
	one, two, three := newHost(t, 1), newHost(t, 2), newHost(t, 3)
	two.join(one.found())
	three.join(one.token(1))
	one.await("host1 alive, host2 alive, host3 alive")
	if _, err := one.PromoteHost(context.Background(), "host2"); err != nil {
		t.Fatal(err)
	}
	one.awaitMembers("1 voter, 2 learner")
	two.await("host1 alive, host2 alive, host3 alive")
	one.crash()
	if err := three.Recover(context.Background()); fault.KindOf(err) != fault.Denied {
		t.Errorf("recovered on a member: got error %v", err)
	}
	if err := two.Recover(context.Background()); err != nil {
		t.Fatal(err)
	}
	two.awaitMembers("2 voter")
	two.writes()
	if hosts, _, err := two.Hosts(context.Background()); err != nil || len(hosts) != 3 {
		t.Errorf("got hosts %v, error %v", hosts, err)
	}
	if err := one.store().Remove(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestBackupIsRestored(t *testing.T) {
	t.Parallel()
	one, two := newHost(t, 1), newHost(t, 2)
	two.join(one.found())
	one.await("host1 alive, host2 alive")
	if _, err := two.Backup(context.Background()); fault.KindOf(err) != fault.Denied {
		t.Errorf("backup on a member: got error %v", err)
	}
	data, err := one.Backup(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := two.Restore(context.Background(), data, ""); fault.KindOf(err) != fault.Exists {
		t.Errorf("restored on a host of a fleet: got error %v", err)
	}
	if err := one.Leave(context.Background(), true); err != nil { // the manager is lost
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data    []byte
		address string
		want    string
	}{
		"cut off":         {data[:len(data)/2], "", "is cut off or altered"},
		"nothing":         {nil, "", "is not a backup of a fleet"},
		"foreign address": {data, "192.0.2.9", "is not an address of this host"},
	} {
		_, _, err := one.Restore(context.Background(), c.data, c.address)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want %q", name, err, c.want)
		}
		if _, err := one.Get(context.Background()); fault.KindOf(err) != fault.NotFound {
			t.Fatalf("%s: the host is part of a fleet: %v", name, err)
		}
	}

	if _, _, err := one.Restore(context.Background(), data, ""); err != nil {
		t.Fatal(err)
	}
	one.await("host1 alive, host2 alive") // the other host has connected again
	two.await("host1 alive, host2 alive")
	three := newHost(t, 3)
	three.join(one.token(1))
	one.await("host1 alive, host2 alive, host3 alive")
	if err := two.Leave(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	one.stop()
	one.expireCertificate()
	one.start()
	one.await("host1 alive, host3 alive")
	one.writes()
}

// expireCertificate makes the certificate of a stopped manager one of two days ago.
func (h *host) expireCertificate() {
	h.t.Helper()
	m, err := membership.Load(h.cfg.Dir)
	must0(h.t, err)
	who, err := m.Identity()
	must0(h.t, err)
	m.Key, m.Cert, err = m.Authority.Issue(who, netip.MustParseAddr(h.address), pki.HostLife,
		time.Now().Add(-2*pki.HostLife))
	must0(h.t, err)
	must0(h.t, membership.Save(h.cfg.Dir, m))
}
