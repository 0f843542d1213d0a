package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nflink"
	nft "github.com/fairlead/fairlead/services/natagent/internal/firewall/nftables"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// installed is a container's policy as it was written to the kernel.
type installed struct {
	*Container
	generation uint64
	via        map[string][]byte // MAC of an endpoint -> MAC of its bridge
}

// answer is an address that the name server answered for a domain of a group.
type answer struct {
	group int
	addr  netip.Addr
}

// kernel writes both tables. Its methods are not safe for concurrent use.
type kernel struct {
	ns    hostns.NS
	conn  *nflink.Link // nil until open
	flags nftables.TableFlags
}

func (k *kernel) inet() *nftables.Table {
	return &nftables.Table{Name: TableName, Family: nftables.TableFamilyINet, Flags: k.flags}
}

func (k *kernel) bridge() *nftables.Table {
	return &nftables.Table{Name: TableName, Family: nftables.TableFamilyBridge, Flags: k.flags}
}

// open opens the socket. It fails without nf_tables.
func (k *kernel) open(ctx context.Context) error {
	if k.conn != nil {
		return nil
	}
	features, err := nft.Probe(ctx, k.ns)
	if err != nil {
		return err
	}
	conn, err := nflink.Open(k.ns)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "nf_tables", "cannot open a netlink socket")
	}

	k.conn = conn
	if features.Owner {
		k.flags = nftables.TableFlagOwner | nftables.TableFlagPersist
	}
	return nil
}

func (k *kernel) close() error {
	if k.conn == nil {
		return nil
	}
	return k.conn.Close()
}

// rebuild writes both tables again, in one transaction.
func (k *kernel) rebuild(all []*installed, learned func(owner string) map[answer]time.Duration) error {
	for _, t := range []*nftables.Table{k.inet(), k.bridge()} {
		k.conn.AddTable(t) // so that the deletion succeeds; it also claims the table
		k.conn.DelTable(t)
		k.conn.AddTable(t)
	}

	k.queueBase()
	for _, c := range all {
		k.queueAdd(c, learned(c.Owner))
	}
	return k.commit()
}

// remove removes both tables.
func (k *kernel) remove() error {
	for _, t := range []*nftables.Table{k.inet(), k.bridge()} {
		k.conn.AddTable(t)
		k.conn.DelTable(t)
	}
	return k.commit()
}

// replace writes the policy of one container, in one transaction. Either can be nil.
func (k *kernel) replace(old, now *installed, learned map[answer]time.Duration) error {
	if old != nil {
		k.queueElements(old, true)
	}
	if now != nil {
		k.queueAdd(now, learned)
	}
	if old != nil {
		k.queueRemove(old)
	}
	return k.commit()
}

// queueBase queues what does not belong to one container.
func (k *kernel) queueBase() {
	t := k.inet()
	for _, s := range baseSets(t) {
		_ = k.conn.AddSet(s.set, s.elements)
	}
	for _, c := range baseChains(t) {
		k.conn.AddChain(c)
	}
	for name, rules := range baseRules() {
		k.queueRules(t, name, rules)
	}

	t = k.bridge()
	_ = k.conn.AddSet(viaMap(t), nil)
	c := k.conn.AddChain(bridgeChain(t))
	k.queueRules(t, c.Name, bridgeRules())
}

func (k *kernel) queueRules(t *nftables.Table, chain string, rules []rule) {
	for _, r := range rules {
		k.conn.AddRule(&nftables.Rule{Table: t, Chain: &nftables.Chain{Name: chain, Table: t}, Exprs: r.exprs,
			UserData: r.userData()})
	}
}

// filled is a set with its elements.
type filled struct {
	set      *nftables.Set
	elements []nftables.SetElement
}

func baseSets(t *nftables.Table) (all []filled) {
	for _, f := range families() {
		for name, prefixes := range map[string][]netip.Prefix{"private": egress.PrivateRanges(),
			"special": egress.SpecialRanges(), "metadata": egress.MetadataAddresses()} {
			all = append(all, filled{&nftables.Set{Table: t, Name: sharedSet(name, f.v6), KeyType: f.address,
				Interval: true}, intervals(merged(f.of(prefixes)))})
		}
	}
	return append(all, filled{policyMap(t), nil})
}

func policyMap(t *nftables.Table) *nftables.Set {
	return &nftables.Set{Table: t, Name: mapPolicies, KeyType: nftables.TypeEtherAddr, IsMap: true,
		DataType: nftables.TypeVerdict, KeyByteOrder: binaryutil.BigEndian, Comment: "container -> its policy"}
}

func viaMap(t *nftables.Table) *nftables.Set {
	return &nftables.Set{Table: t, Name: mapVia, KeyType: nftables.TypeEtherAddr, DataType: nftables.TypeEtherAddr,
		IsMap: true, KeyByteOrder: binaryutil.BigEndian, Comment: "container with a policy -> its bridge"}
}

// sets returns the sets of a container.
func (c *installed) sets(t *nftables.Table, learned map[answer]time.Duration) (all []filled) {
	for i, g := range plan(c.Policy()) {
		for _, f := range families() {
			if list := f.of(g.prefixes); len(list) > 0 {
				all = append(all, filled{&nftables.Set{Table: t, KeyType: f.address, Interval: true,
					Comment: comment(g),
					Name:    setName(id.Short(c.Owner), c.generation, i, false, f.v6)}, intervals(list)})
			}
			if !g.domains {
				continue
			}
			s := filled{set: &nftables.Set{Table: t, KeyType: f.address, HasTimeout: true, Comment: comment(g),
				Name: setName(id.Short(c.Owner), c.generation, i, true, f.v6)}}
			for a, left := range learned {
				if a.group == i && a.addr.Is6() == f.v6 {
					s.elements = append(s.elements, nftables.SetElement{Key: a.addr.AsSlice(), Timeout: left})
				}
			}
			all = append(all, s)
		}
	}
	return all
}

// comment returns the comment of a set.
func comment(g group) string { return g.text[:min(len(g.text), maxComment)] }

// queueAdd queues sets, chain and elements of a container.
func (k *kernel) queueAdd(c *installed, learned map[answer]time.Duration) {
	t := k.inet()
	for _, s := range c.sets(t, learned) {
		_ = k.conn.AddSet(s.set, s.elements)
	}
	chain := k.conn.AddChain(&nftables.Chain{Name: chainName(c.Owner, c.generation), Table: t})
	k.queueRules(t, chain.Name, chainRules(c.Container, c.generation))
	k.queueElements(c, false)
}

// queueElements adds or removes the map elements of a container.
func (k *kernel) queueElements(c *installed, remove bool) {
	put := k.conn.SetAddElements
	if remove {
		put = k.conn.SetDeleteElements
	}

	chain := &expr.Verdict{Kind: expr.VerdictGoto, Chain: chainName(c.Owner, c.generation)}
	var policies, via []nftables.SetElement
	for mac, bridge := range c.via {
		policies = append(policies, nftables.SetElement{Key: []byte(mac), VerdictData: chain})
		via = append(via, nftables.SetElement{Key: []byte(mac), Val: bridge})
	}
	if len(via) > 0 {
		_ = put(policyMap(k.inet()), policies)
		_ = put(viaMap(k.bridge()), via)
	}
}

// queueRemove queues the removal of a container's chain and sets. Its elements must be removed before.
func (k *kernel) queueRemove(c *installed) {
	t := k.inet()
	chain := &nftables.Chain{Name: chainName(c.Owner, c.generation), Table: t}
	k.conn.FlushChain(chain)
	k.conn.DelChain(chain)
	for _, s := range c.sets(t, nil) {
		k.conn.DelSet(s.set)
	}
}

// learn adds addresses to the sets of a container. Those in renew are present and get a new timeout.
func (k *kernel) learn(c *installed, add, renew map[answer]time.Duration) error {
	for a, left := range renew {
		_ = k.conn.SetDeleteElements(k.learnedSet(c, a), []nftables.SetElement{{Key: a.addr.AsSlice()}})
		_ = k.conn.SetAddElements(k.learnedSet(c, a), []nftables.SetElement{{Key: a.addr.AsSlice(), Timeout: left}})
	}
	for a, left := range add {
		_ = k.conn.SetAddElements(k.learnedSet(c, a), []nftables.SetElement{{Key: a.addr.AsSlice(), Timeout: left}})
	}
	return k.commit()
}

func (k *kernel) learnedSet(c *installed, a answer) *nftables.Set {
	f := families()[0]
	if a.addr.Is6() {
		f = families()[1]
	}
	return &nftables.Set{Table: k.inet(), Name: setName(id.Short(c.Owner), c.generation, a.group, true, f.v6),
		KeyType: f.address, HasTimeout: true}
}

func (k *kernel) commit() error {
	switch err := k.conn.Flush(); {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return fault.New(fault.Denied, "table "+TableName, "cannot be changed: permission denied", fault.WithCause(err),
			fault.WithHint("grant natagent CAP_NET_ADMIN in the host's network namespace"))
	default:
		return fault.New(fault.Internal, "table "+TableName, "cannot be changed", fault.WithCause(err))
	}
}

// bridgeMACs returns the bridge's address for each endpoint of a container.
func (k *kernel) bridgeMACs(c *Container, bridge func(network string) (string, bool)) (map[string][]byte, error) {
	via := map[string][]byte{}
	for _, e := range c.Endpoints {
		name, ok := bridge(e.NetworkID)
		if !ok {
			return nil, fault.New(fault.NotFound, "network "+id.Short(e.NetworkID), "has no bridge in natagent")
		}
		mac, err := net.ParseMAC(e.MAC)
		if err != nil {
			return nil, err
		}

		var link *net.Interface
		if err := k.ns.Do(func() (err error) { link, err = net.InterfaceByName(name); return err }); err != nil {
			return nil, fault.Wrap(err, fault.Unavailable, "bridge "+name, "cannot be read")
		}
		via[string(mac)] = link.HardwareAddr
	}
	return via, nil
}
