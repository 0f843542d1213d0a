package fleet

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/api"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/external"
	"github.com/fairlead/fairlead/services/fleetagent/internal/membership"
	"github.com/fairlead/fairlead/services/fleetagent/internal/token"
)

// foundOn creates a fleet with an external store and returns the token for the next host.
func (h *host) foundOn(s *external.Store) string {
	h.t.Helper()
	_, _, token, err := h.Init(context.Background(), h.address, h.name, nil, s)
	must0(h.t, err)
	return token
}

// TestExternalStore: a fleet on an etcd cluster, with a certificate that may use keys below a prefix only.
func TestExternalStore(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	ca := newAuthority(t)
	c := newCluster(t, 5, ca)
	c.restrict("fleet", "/apps/fleet/")
	one, two, three := newHost(t, 1), newHost(t, 2), newHost(t, 3)
	two.join(one.foundOn(c.store(ca.client("fleet", time.Hour), "/apps/fleet")))
	three.join(one.token(1))
	for _, h := range []*host{one, two, three} {
		h.await("host1 alive, host2 alive, host3 alive")
		if h.store().Exists() {
			t.Errorf("%s has a store of its own", h.name)
		}
	}
	if all, below := c.keys("/"), c.keys("/apps/fleet/fairlead/1/"); all != below || all == 0 {
		t.Errorf("got %d keys, %d of them below the prefix", all, below)
	}
	two.writesOwnRecordsOnly("/apps/fleet")
	one.diagnoses("https://", "etcd 3.")
	three.diagnoses("through host1", "etcd 3.")

	// Managers get the credentials, members do not have them.
	second := ca.client("fleet", 2*time.Hour)
	must0(t, one.UpdateStore(ctx, &external.Store{Cert: second.cert, Key: second.key}))
	_, err := one.PromoteHost(ctx, "host2")
	must0(t, err)
	two.await("host1 alive, host2 alive, host3 alive")
	two.writes()
	if !bytes.Equal(two.external().Cert, second.cert) || len(three.external().Key) > 0 {
		t.Error("the new manager has not got the new credentials, or a member has got them")
	}
	late := one.external() // what a manager has that does not know of the next change
	third := ca.client("fleet", 3*time.Hour)
	must0(t, two.UpdateStore(ctx, &external.Store{Cert: third.cert, Key: third.key}))
	two.updateLate(late, third)
	if !eventually(func() bool { return bytes.Equal(one.external().Cert, third.cert) }) {
		t.Error("another manager does not get new credentials")
	}

	one.stop() // calls go through the other manager
	two.await("host1 suspect, host2 alive, host3 alive")
	three.await("host1 suspect, host2 alive, host3 alive")
	c.compact() // what it has missed
	one.start()
	one.await("host1 alive, host2 alive, host3 alive")
	one.outage(c, three)

	_, err = one.Backup(ctx)
	wants(t, err, fault.Conflict, "its own tools")
	wants(t, one.Recover(ctx), fault.Conflict, "its own tools")
	_, err = one.DemoteHost(ctx, "host2")
	must0(t, err)
	if !eventually(func() bool { return len(two.external().Key) == 0 }) {
		t.Error("a member keeps the credentials")
	}
	_, err = one.RemoveHost(ctx, "host3", true)
	must0(t, err)
	one.await("host1 alive, host2 alive")
	if !eventually(func() bool { return strings.Contains(three.log.String(), "was removed from its fleet") }) {
		t.Error("a removed host does not learn of it")
	}
	must0(t, two.Leave(ctx, false))
	one.await("host1 alive")
	must0(t, one.Leave(ctx, false))
	if n := c.keys("/"); n > 0 {
		t.Errorf("got %d keys left in the store", n)
	}
}

// updateLate replaces credentials that are outdated: only all of them together.
func (h *host) updateLate(late *external.Store, newest pair) {
	h.t.Helper()
	ctx, p := context.Background(), h.Fleet.part
	_, err := late.Replace(ctx, &external.Store{CA: late.CA}, p.keys, time.Now)
	wants(h.t, err, fault.Conflict, "has newer credentials, which this manager has not received yet")

	next := p.membership().External
	results := make(chan error)
	for range 2 { // two managers at the same time
		go func() {
			_, err := next.Replace(ctx, &external.Store{CA: next.CA}, p.keys, time.Now)
			results <- err
		}()
	}
	if a, b := <-results, <-results; (a == nil) == (b == nil) {
		h.t.Errorf("got errors %v and %v, want one", a, b)
	}
	all := &external.Store{Endpoints: next.Endpoints, CA: next.CA, Cert: newest.cert, Key: newest.key}
	must0(h.t, h.UpdateStore(ctx, all))
	if got := h.external().Serial; got <= next.Serial+1 {
		h.t.Errorf("got serial number %d after all were replaced, want more than %d", got, next.Serial+1)
	}
}

// Keys of a manager arrive while other tasks change the membership.
func TestKeysOfManagersKeepOtherChanges(t *testing.T) {
	t.Parallel()
	store := newAuthority(t).client("fleet", time.Hour)
	f := New(Config{Dir: filepath.Join(t.TempDir(), "fleet"), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	m, err := f.found(netip.MustParseAddr("192.0.2.1"), "one", &external.Store{Cert: store.cert, Key: store.key})
	must0(t, err)
	p := &part{cfg: f.cfg, m: m}

	authority, changed := *m.Authority, make(chan error, 1)
	m.Authority = nil // a member, which is promoted
	p.cfg.Now = func() time.Time {
		go func() { changed <- p.edit(func(m *membership.Membership) { m.Generation++ }) }()
		time.Sleep(100 * time.Millisecond) // the other task is not awaited: it may have to wait for this one
		return time.Now()
	}
	next := *m.External
	next.Serial += 2
	must0(t, outside{p}.takeOver(api.Keys{Authority: authority, External: &next}))
	must0(t, <-changed)
	older := *m.External
	older.Serial++
	must0(t, outside{p}.takeOver(api.Keys{Authority: authority, External: &older}))
	if got := p.membership(); !got.IsManager() || got.Generation != 1 || got.External.Serial != next.Serial {
		t.Errorf("got manager %t, %d changes, serial number %d, want true, 1, %d", got.IsManager(), got.Generation,
			got.External.Serial, next.Serial)
	}
}

// diagnoses waits until doctor finds something good about the store.
func (h *host) diagnoses(name, message string) {
	h.t.Helper()
	var found []*hostv1.Finding
	if !eventually(func() bool {
		var err error
		found, err = h.Diagnose(context.Background())
		must0(h.t, err)
		return slices.ContainsFunc(found, func(f *hostv1.Finding) bool {
			return f.GetArea() == "store" && strings.HasPrefix(f.GetName(), name) &&
				strings.Contains(f.GetMessage(), message) && f.GetSeverity() == hostv1.Severity_SEVERITY_OK
		})
	}) {
		h.t.Errorf("%s: doctor finds %v, want %q with %q", h.name, found, name, message)
	}
}

// outage kills the store and starts it again.
func (h *host) outage(c *cluster, member *host) {
	h.t.Helper()
	c.stop()
	if !eventually(func() bool {
		r, err := member.Get(context.Background())
		return err == nil && strings.Contains(r.GetStoreError(), "cannot be reached")
	}) {
		h.t.Error("a member does not notice that the store is away")
	}
	_, _, err := h.IssueToken(context.Background(), time.Minute, 1, token.Member)
	wants(h.t, err, fault.Unavailable, "cannot be reached")
	c.start()
	for _, x := range []*host{h, member} {
		x.await("host1 alive, host2 alive, host3 alive")
	}
	h.writes()
}

func (h *host) external() *external.Store {
	h.t.Helper()
	p, err := h.current()
	must0(h.t, err)
	return p.membership().External
}

// writesOwnRecordsOnly checks that a member cannot write or read what is not its own.
func (h *host) writesOwnRecordsOnly(prefix string) {
	h.t.Helper()
	ctx := context.Background()
	p, err := h.current()
	must0(h.t, err)
	own := p.membership().Host
	var other string
	var lease int64
	hosts, err := p.list()
	must0(h.t, err)
	for _, x := range hosts {
		if x.GetRole() == fleetv1.HostRole_HOST_ROLE_MANAGER {
			other = x.GetId()
		}
	}
	for _, key := range []string{p.keys.Host(own), p.keys.Presence(other), p.keys.Info(other), p.keys.Settings(),
		p.keys.Pool(), prefix + "/x", "/x"} {
		_, err := p.client.Commit(ctx, nil, etcd.Put(key, []byte("x")))
		wants(h.t, err, fault.Denied, "does not allow")
		_, err = p.client.Commit(ctx, nil, etcd.DeleteBelow(key))
		wants(h.t, err, fault.Denied, "does not allow")
	}
	for _, key := range []string{prefix, prefix + "/x", "/", "x"} {
		_, err := p.client.List(ctx, key)
		wants(h.t, err, fault.Denied, "does not allow")
	}
	_, err = p.client.Commit(ctx, nil, etcd.Put(p.keys.Seen(own), []byte("1")))
	must0(h.t, err)

	// The lease of another host can be read, and neither ended nor used.
	raw, err := clientv3.New(clientv3.Config{Endpoints: p.membership().Store, TLS: p.clientTLS("", "")})
	must0(h.t, err)
	defer raw.Close()
	r, err := raw.Get(ctx, p.keys.Presence(other))
	must0(h.t, err)
	if len(r.Kvs) == 0 {
		h.t.Fatal("the other host has no presence")
	}
	lease = r.Kvs[0].Lease
	_, err = raw.Revoke(ctx, clientv3.LeaseID(lease))
	if err == nil || !strings.Contains(err.Error(), "permission denied") {
		h.t.Errorf("ended the lease of another host: got error %v", err)
	}
	_, err = p.client.Commit(ctx, nil, etcd.PutLeased(p.keys.Seen(own), []byte("1"), clientv3.LeaseID(lease)))
	wants(h.t, err, fault.Denied, "does not allow")
	if _, err := raw.UserList(ctx); err == nil {
		h.t.Error("a member can list the users of the store")
	}
}

// wants checks the class and a part of an error.
func wants(t testing.TB, err error, kind fault.Kind, text string) {
	t.Helper()
	if fault.KindOf(err) != kind || !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v, want %q", err, text)
	}
}

// TestUnusableExternalStoreLeavesNoTrace checks every reason to refuse an external store.
func TestUnusableExternalStoreLeavesNoTrace(t *testing.T) {
	t.Parallel()
	ca, foreign := newAuthority(t), newAuthority(t)
	c := newCluster(t, 5, ca)
	c.restrict("fleet", "/good/")
	good := ca.client("fleet", time.Hour)
	one, two := newHost(t, 1), newHost(t, 2)
	unknown := foreign.client("fleet", time.Hour)
	closed := c.store(good, "/good")
	closed.Endpoints = append(closed.Endpoints, strings.Replace(c.url, ":2379", ":2999", 1))
	wrongCA := c.store(good, "/good")
	wrongCA.CA = foreign.pem
	mixed := c.store(good, "/good")
	mixed.Key = unknown.key
	for name, bad := range map[string]struct {
		store *external.Store
		want  string
	}{
		"closed port":       {closed, ":2999: cannot be reached: dial tcp"},
		"wrong authority":   {wrongCA, "has a certificate of another authority"},
		"expired":           {c.store(ca.client("fleet", -time.Minute), "/good"), "has expired on"},
		"not accepted":      {c.store(unknown, "/good"), "does not accept the client certificate"},
		"key of another":    {mixed, "are not a certificate and its key"},
		"without rights":    {c.store(ca.client("other", time.Hour), "/good"), "does not allow the client certificate"},
		"other prefix":      {c.store(good, "/bad"), "does not allow the client certificate"},
		"malformed prefix":  {c.store(good, "good"), "does not start with a slash"},
		"without TLS":       {&external.Store{Endpoints: []string{"http://e1:2379"}}, "is not a URL as in"},
		"without authority": {&external.Store{Endpoints: []string{c.url}}, "needs --store-ca"},
	} {
		_, _, _, err := one.Init(context.Background(), one.address, one.name, nil, bad.store)
		if err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s: got error %v, want %q", name, err, bad.want)
		}
		if _, err := os.Stat(one.cfg.Dir); !os.IsNotExist(err) {
			t.Errorf("%s: got files left", name)
		}
	}
	if n := c.keys("/"); n > 0 {
		t.Errorf("got %d keys left", n)
	}

	one.foundOn(c.store(good, "/good"))
	_, _, _, err := two.Init(context.Background(), two.address, two.name, nil, c.store(good, "/good/"))
	wants(t, err, fault.Exists, `"/good": is in use by fleet `)
	one.await("host1 alive")

	c.alarm()
	_, _, err = one.IssueToken(context.Background(), time.Hour, 1, token.Member)
	wants(t, err, fault.Unavailable, "is full, and accepts no changes")
	_, _, _, err = two.Init(context.Background(), two.address, two.name, nil, c.store(good, "/good"))
	wants(t, err, fault.Unavailable, "accepts no changes: ")
}

// alarm makes the server refuse changes as if its disk space was used up.
func (c *cluster) alarm() {
	c.t.Helper()
	client := c.connect("root")
	defer client.Close()
	status, err := client.Status(context.Background(), c.url)
	must0(c.t, err)
	_, err = pb.NewMaintenanceClient(client.ActiveConnection()).Alarm(context.Background(), &pb.AlarmRequest{
		Action: pb.AlarmRequest_ACTIVATE, Alarm: pb.AlarmType_NOSPACE, MemberID: status.Header.MemberId})
	must0(c.t, err)
}

// TestAnotherClusterIsNotUsed: the address of the store is that of another cluster.
func TestAnotherClusterIsNotUsed(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	c := newCluster(t, 5, ca)
	one, two := newHost(t, 1), newHost(t, 2)
	two.join(one.foundOn(c.store(ca.client("fleet", time.Hour), "")))
	one.await("host1 alive, host2 alive")
	c.stop()
	other := newCluster(t, 5, ca)
	for _, h := range []*host{one, two} {
		if !eventually(func() bool {
			r, err := h.Get(context.Background())
			return err == nil && strings.Contains(r.GetStoreError(), "it is another cluster")
		}) {
			t.Errorf("%s does not notice that the store is another one", h.name)
		}
		if got, _ := h.listed(); !strings.HasPrefix(got, "host1 ") || !strings.Contains(got, "host2 ") {
			t.Errorf("%s lists %q", h.name, got)
		}
		if strings.Contains(h.log.String(), "was removed from its fleet") {
			t.Errorf("%s holds itself for removed", h.name)
		}
	}
	if n := other.keys("/"); n > 0 {
		t.Errorf("got %d keys in the other cluster", n)
	}
	other.stop()
	c.start()
	one.await("host1 alive, host2 alive")
	two.await("host1 alive, host2 alive")
}
