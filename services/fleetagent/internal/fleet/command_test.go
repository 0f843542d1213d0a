package fleet

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/faultrpc"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/proto/noderpc"
	"github.com/fairlead/fairlead/services/fleetagent/internal/api"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
	"github.com/fairlead/fairlead/services/fleetagent/internal/view"
)

// acceptAll sends an empty response to each call of an authorized client.
func acceptAll(in grpc.ServerStream, _ string) error {
	if err := in.RecvMsg(new(emptypb.Empty)); err != nil {
		return err
	}
	return in.SendMsg(new(emptypb.Empty))
}

// commanded calls a method of another host with the certificate of this one.
func (h *host) commanded(on *host, node string) error {
	h.t.Helper()
	p, err := h.current()
	if err != nil {
		h.t.Fatal(err)
	}
	nodes := api.NewNodes()
	defer nodes.Close()
	conn, err := nodes.Conn(api.Target{ID: on.name, Name: on.name,
		Address: netip.AddrPortFrom(netip.MustParseAddr(on.address), on.cfg.Ports.Agent),
		TLS:     pki.ClientConfig(p.m.CA, p.certificate, pki.Expected{}, time.Now)})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx := noderpc.To(context.Background(), node)
	_, err = fleetv1.NewFleetServiceClient(conn).GetFleet(ctx, &fleetv1.GetFleetRequest{})
	return faultrpc.FromStatus(err)
}

func TestOnlyManagersCommandHosts(t *testing.T) {
	t.Parallel()
	one, two, three := newHost(t, 1), newHost(t, 2), newHost(t, 3)
	two.join(one.found())
	three.join(one.token(1))
	two.await("host1 alive, host2 alive, host3 alive")
	for name, c := range map[string]struct {
		from, to *host
		node     string
		want     string
	}{
		"manager to member":          {one, two, "", ""},
		"member to member":           {three, two, "", "is that of a member; only managers command other hosts"},
		"member to manager":          {two, one, "", "is that of a member; only managers command other hosts"},
		"manager through a member":   {one, two, "host3", "is that of a host, which commands other hosts directly"},
		"member through the manager": {two, one, "host3", "is that of a member; only managers command other hosts"},
	} {
		err := c.from.commanded(c.to, c.node)
		if c.want == "" && err != nil || c.want != "" && (fault.KindOf(err) != fault.Denied ||
			!strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got error %v, want %q", name, err, c.want)
		}
	}

	for _, row := range []struct {
		from, to *host
		name     string
		want     string
	}{
		{one, one, "host1", ""}, {two, two, "host2", ""}, {one, two, "host2", ""},
		{two, three, "host3", "is not a manager, and cannot command other hosts"},
		{one, nil, "host9", "is not part of the fleet"},
	} {
		conn, err := row.from.Node(context.Background(), row.name)
		if row.want != "" {
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%s to %s: got error %v, want %q", row.from.name, row.name, err, row.want)
			}
			continue
		}
		if err != nil || (conn == nil) != (row.from == row.to) {
			t.Errorf("%s to %s: got connection %v, error %v", row.from.name, row.name, conn, err)
		}
	}
}

// TestARemovedManagerCommandsNoHost: the certificate of a manager is valid for a day after its
// removal.
func TestARemovedManagerCommandsNoHost(t *testing.T) {
	t.Parallel()
	one, two := newHost(t, 1), newHost(t, 2)
	two.join(one.found())
	two.await("host1 alive, host2 alive")
	if err := one.commanded(two, ""); err != nil {
		t.Fatal(err)
	}
	p, err := two.current()
	if err != nil {
		t.Fatal(err)
	}
	m, err := one.current()
	if err != nil {
		t.Fatal(err)
	}

	ctx, id, key := context.Background(), m.membership().Host, p.keys.Host(m.membership().Host)
	demoted, err := record.Encode(&fleetv1.Host{Id: id, Name: "host1", Address: one.address,
		Role: fleetv1.HostRole_HOST_ROLE_MEMBER})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change etcd.Op
		seen   func(*fleetv1.Host) bool
		want   string
	}{
		{etcd.Put(key, demoted), func(h *fleetv1.Host) bool { return h.GetRole() == fleetv1.HostRole_HOST_ROLE_MEMBER },
			"is not a manager any more"},
		{etcd.Delete(key), func(h *fleetv1.Host) bool { return h == nil }, "was removed from the fleet"},
	} {
		if _, err := m.client.Commit(ctx, nil, c.change); err != nil {
			t.Fatal(err)
		}
		p.mirror.Await(ctx, func(v *view.View) bool { return c.seen(v.Hosts()[id]) })
		if err := one.commanded(two, ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got error %v, want %q", err, c.want)
		}
	}
}
