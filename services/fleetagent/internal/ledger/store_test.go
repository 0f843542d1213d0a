package ledger

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
)

// memory is a store in memory with the transactions of etcd.
type memory struct {
	revision int64
	values   map[string]etcd.Value
	granted  time.Duration // of the last lease
	rival    func()        // changes the store before the next transaction
	fails    error
}

func (m *memory) Get(_ context.Context, key string) (etcd.Value, bool, error) {
	v, ok := m.values[key]
	return v, ok, m.fails
}

func (m *memory) List(_ context.Context, prefix string) (all []etcd.Value, err error) {
	for _, key := range slices.Sorted(maps.Keys(m.values)) {
		if strings.HasPrefix(key, prefix) {
			all = append(all, m.values[key])
		}
	}
	return all, m.fails
}

func (m *memory) Grant(_ context.Context, life time.Duration) (etcd.Lease, error) {
	m.granted = life
	return 1, m.fails
}

func (m *memory) Commit(_ context.Context, conditions []etcd.Condition, changes ...etcd.Op) (bool, error) {
	if rival := m.rival; rival != nil {
		m.rival = nil
		rival()
	}
	if m.fails != nil {
		return false, m.fails
	}
	for _, c := range conditions {
		if !m.holds(c) {
			return false, nil
		}
	}
	m.revision++
	seen := map[string]bool{}
	for _, op := range changes {
		key := string(op.KeyBytes())
		if seen[key] {
			panic("transaction changes twice " + key) // etcd refuses it
		}
		if seen[key] = true; op.IsPut() {
			m.values[key] = etcd.Value{Key: key, Data: op.ValueBytes(), Revision: m.revision}
			continue
		}
		for _, k := range m.within(key, string(op.RangeBytes())) {
			delete(m.values, k)
		}
	}
	return true, nil
}

// within returns the keys of a range, or one key.
func (m *memory) within(first, end string) (all []string) {
	for key := range m.values {
		if key == first || end != "" && key >= first && key < end {
			all = append(all, key)
		}
	}
	return all
}

// holds reports whether a condition holds. All that the ledger uses are about existence or revision.
func (m *memory) holds(condition etcd.Condition) bool {
	c := condition.GetCompare()
	keys := m.within(string(c.GetKey()), string(c.GetRangeEnd()))
	switch form := c.GetTarget().String() + " " + c.GetResult().String(); form {
	case "CREATE EQUAL":
		return len(keys) == 0
	case "CREATE GREATER":
		return len(keys) == 1
	case "MOD EQUAL":
		return len(keys) == 1 && m.values[keys[0]].Revision == c.GetModRevision()
	default:
		panic("condition " + form)
	}
}

// world is a ledger with its store.
type world struct {
	Ledger
	*memory
	t *testing.T
}

var (
	netA, netB = strings.Repeat("a", 64), strings.Repeat("b", 64)
	now        = time.Unix(1_700_000_000, 0)
)

func newWorld(t *testing.T) *world {
	m := &memory{values: map[string]etcd.Value{}}
	return &world{Ledger{Keys: record.ForFleet("", "f1"), Fleet: "0102030405", Store: m, Quarantine: DefaultQuarantine,
		Now: func() time.Time { return now }}, m, t}
}

// put stores a record.
func (w *world) put(key string, m proto.Message) {
	w.t.Helper()
	data, err := record.Encode(m)
	if err != nil {
		w.t.Fatal(err)
	}
	w.set(key, data)
}

func (w *world) set(key string, data []byte) {
	w.revision++
	w.values[key] = etcd.Value{Key: key, Data: data, Revision: w.revision}
}

// host adds a host that is connected.
func (w *world) host(id string) Caller {
	w.put(w.Keys.Host(id), &fleetv1.Host{Id: id, Name: "host-" + id, Address: "192.0.2.1"})
	w.set(w.Keys.Presence(id), nil)
	w.set(w.Keys.Epoch(id), nil)
	return Caller{id, w.revision}
}

// create creates a network with a subnet.
func (w *world) create(id, name, subnet string) *fleetv1.OverlayNetwork {
	w.t.Helper()
	n, err := w.CreateNetwork(w.t.Context(), network(id, name, subnet), false)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func network(id, name string, subnets ...string) *fleetv1.OverlayNetwork {
	n := &fleetv1.OverlayNetwork{Id: id, Name: name}
	for _, s := range subnets {
		n.Pools = append(n.Pools, &fleetv1.OverlayPool{Subnet: s})
	}
	return n
}

// claim claims a block and returns it.
func (w *world) claim(c Caller, id, subnet, exact string) (string, error) {
	p := netip.Prefix{}
	if exact != "" {
		p = netip.MustParsePrefix(exact)
	}
	b, err := w.Claim(w.t.Context(), c, id, netip.MustParsePrefix(subnet), p)
	return b.GetPrefix(), err
}

// must claims a block of a subnet.
func (w *world) must(c Caller, id, subnet, exact string) netip.Prefix {
	w.t.Helper()
	text, err := w.claim(c, id, subnet, exact)
	if err != nil {
		w.t.Fatal(err)
	}
	return netip.MustParsePrefix(text)
}

// owners returns the blocks of a network with their owners, and the released ones.
func (w *world) owners(id string) string {
	var all []string
	for key, v := range w.values {
		p, _ := record.ParsePrefixName(record.Last(key))
		switch b := (&fleetv1.OverlayBlock{}); {
		case strings.HasPrefix(key, w.Keys.Quarantines(id)):
			all = append(all, p.String()+" released")
		case strings.HasPrefix(key, w.Keys.Blocks(id)) && record.Decode(key, v.Data, b) == nil:
			all = append(all, fmt.Sprintf("%s %s", p, b.GetHostId()))
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// expectOwners compares the blocks of a network.
func (w *world) expectOwners(id, want string) {
	w.t.Helper()
	if got := w.owners(id); got != want {
		w.t.Errorf("blocks: got %q, want %q", got, want)
	}
}

// expectFault compares kind and a part of the text of an error.
func expectFault(t *testing.T, err error, kind fault.Kind, part string) {
	t.Helper()
	if !fault.Is(err, kind) || !strings.Contains(err.Error(), part) {
		t.Errorf("got %v, want kind %d with %q", err, kind, part)
	}
}
