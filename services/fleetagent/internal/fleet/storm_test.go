package fleet

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
)

// Fifty hosts, of which only the records exist, lose their leases and return.
func TestLossOfManyHostsChangesNothing(t *testing.T) {
	t.Parallel()
	const many, few = 50, 12
	ctx := context.Background()
	one := newHost(t, 1)
	one.found()
	_, err := one.create(1, "app", "10.5.0.0/24")
	must0(t, err)
	must0(t, one.MarkNetworkUp(ctx, netID(1)))
	c := one.watch()
	p, err := one.current()
	must0(t, err)
	commit := func(change func(id string) etcd.Op, from, to int) {
		t.Helper()
		var changes []etcd.Op
		for n := from; n < to; n++ {
			changes = append(changes, change(fmt.Sprintf("%016x", n+1)))
		}
		_, err := p.client.Commit(ctx, nil, changes...)
		must0(t, err)
	}
	put := func(key string, m proto.Message) etcd.Op {
		data, err := record.Encode(m)
		must0(t, err)
		return etcd.Put(key, data)
	}
	commit(func(id string) etcd.Op {
		return put(p.keys.Host(id), &fleetv1.Host{Id: id, Name: "far" + id, Address: "192.0.2.9",
			Role: fleetv1.HostRole_HOST_ROLE_MEMBER})
	}, 0, many)
	commit(func(id string) etcd.Op {
		return put(p.keys.Endpoint(id, netID(1), "c1"), &fleetv1.OverlayEndpoint{NetworkId: netID(1), Owner: "c1",
			HostId: id, Names: []string{"web"}, Addresses: []string{"10.5.0.9"}})
	}, 0, many)
	alive := func(id string) etcd.Op { return etcd.Put(p.keys.Presence(id), []byte("x")) }
	lost := func(id string) etcd.Op { return etcd.Delete(p.keys.Presence(id)) }
	sees := func(suspects int) func() bool {
		return func() bool {
			n := 0
			for _, h := range c.hosts {
				if h.GetState() == fleetv1.HostState_HOST_STATE_SUSPECT {
					n++
				}
			}
			return n == suspects && len(c.hosts) == many+1 && len(c.endpoints) == many
		}
	}

	commit(alive, 0, many)
	c.until("all hosts alive", sees(0))
	commit(lost, 0, few)
	c.until("few suspect hosts", sees(few))
	commit(lost, few, many)
	if !eventually(func() bool { return strings.Contains(one.log.String(), "many hosts lost, nothing changes") }) {
		t.Error("got no alarm")
	}
	c.until("the names of all hosts in their order", sees(0))
	one.writes()
	commit(alive, 0, many)
	if !eventually(func() bool { return strings.Contains(one.log.String(), "lost hosts returned") }) {
		t.Error("the alarm does not end")
	}
	c.until("all hosts again", sees(0))
}

// Hosts of different versions: a host that rewrites the record of a newer one keeps what it does not know.
func TestRecordsOfNewerVersionsAreKept(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	one, two := newHost(t, 1), newHost(t, 2)
	two.join(one.found())
	one.await("host1 alive, host2 alive")
	_, err := one.create(1, "app", "10.5.0.0/24")
	must0(t, err)
	p, err := one.current()
	must0(t, err)
	later := protowire.AppendString(protowire.AppendTag(nil, 999, protowire.BytesType), "of a later version")
	network, host := p.keys.Network(netID(1)), p.keys.Host(two.id())
	messages := map[string]proto.Message{network: &fleetv1.OverlayNetwork{}, host: &fleetv1.Host{}}
	read := func(key string) proto.Message {
		t.Helper()
		value, ok, err := p.client.Get(ctx, key)
		must0(t, err)
		m := proto.Clone(messages[key])
		if !ok {
			t.Fatalf("%s does not exist", key)
		}
		must0(t, record.Decode(key, value.Data, m))
		return m
	}
	for key := range messages {
		m := read(key)
		m.ProtoReflect().SetUnknown(later)
		data, err := record.Encode(m)
		must0(t, err)
		_, err = p.client.Commit(ctx, nil, etcd.Put(key, data))
		must0(t, err)
	}

	_, err = one.UpdateNetwork(ctx, &fleetv1.UpdateNetworkRequest{NetworkId: netID(1),
		Labels: map[string]string{"a": "b"}})
	must0(t, err)
	_, err = one.PromoteHost(ctx, "host2")
	must0(t, err)
	for key := range messages {
		if m := read(key); string(m.ProtoReflect().GetUnknown()) != string(later) {
			t.Errorf("%s: got %v without what a later version knows", key, m)
		}
	}
	c := two.watch()
	c.until("the changed network", func() bool { return c.networks[netID(1)].GetLabels()["a"] == "b" })
	if r := read(host).(*fleetv1.Host); r.GetRole() != fleetv1.HostRole_HOST_ROLE_MANAGER {
		t.Errorf("got role %v", r.GetRole())
	}
	// A value that only a later version reads does not replace the good one.
	_, err = p.client.Commit(ctx, nil, etcd.Put(network, record.Seal([]byte{0xff, 0xff, 0xff})))
	must0(t, err)
	if !eventually(func() bool { return strings.Contains(two.log.String(), "is not a OverlayNetwork") }) {
		t.Error("a record that cannot be read is not reported")
	}
	c.until("the last good network", func() bool { return c.networks[netID(1)].GetLabels()["a"] == "b" })
}
