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
	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/prefixes"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nflink"
	nft "github.com/fairlead/fairlead/services/natagent/internal/firewall/nftables"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/nflog"
)

// installed is a container's policy as it was written to the kernel.
type installed struct {
	*Container
	generation uint64
	via        map[string][]byte // MAC of an endpoint -> MAC of its bridge

	out, in          egress.Policy // parsed once
	groups, inGroups []group
}

// newInstalled returns a container with what is derived from its rules.
func newInstalled(c *Container, generation uint64, via map[string][]byte) *installed {
	i := &installed{Container: c, generation: generation, via: via, out: c.Policy(), in: c.IngressPolicy()}
	i.groups, i.inGroups = plan(i.out), plan(i.in)
	return i
}

// peers returns the containers, networks and labels among all rules.
func (c *installed) peers() []string { return append(c.out.Peers(), c.in.Peers()...) }

// kernel writes both tables. Its methods are not safe for concurrent use.
type kernel struct {
	ns     hostns.NS
	conn   *nflink.Link // nil until open
	flags  nftables.TableFlags
	queue  queueKind
	peers  map[string][]netip.Prefix // sets of containers, networks and labels, merged
	naming map[string]int            // how often policies name a peer
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

	k.conn, k.queue = conn, probeQueue(conn.Conn)
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
func (k *kernel) rebuild(all []*installed, learned func(owner string) map[answered.Open]time.Duration,
	peers func(string) []netip.Prefix) error {
	k.peers, k.naming = map[string][]netip.Prefix{}, map[string]int{}
	for _, t := range []*nftables.Table{k.inet(), k.bridge()} {
		k.conn.AddTable(t) // so that the deletion succeeds; it also claims the table
		k.conn.DelTable(t)
		k.conn.AddTable(t)
	}

	k.queueBase()
	for _, c := range all {
		k.queueAdd(c, learned(c.Owner), peers)
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
func (k *kernel) replace(old, now *installed, learned map[answered.Open]time.Duration,
	peers func(string) []netip.Prefix) error {
	if old != nil {
		k.queueElements(old, true)
	}
	if now != nil {
		k.queueAdd(now, learned, peers)
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
	for name, rules := range baseRules(k.queue) {
		k.queueRules(t, name, rules)
	}

	t = k.bridge()
	for _, s := range bridgeSets(t) {
		_ = k.conn.AddSet(s.set, nil)
	}
	chains, rules := bridgeChains(t)
	for i, c := range chains {
		k.conn.AddChain(c)
		k.queueRules(t, c.Name, rules[i])
	}
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
		for name, list := range map[string][]netip.Prefix{"private": egress.PrivateRanges(),
			"special": egress.SpecialRanges(), "metadata": egress.MetadataAddresses()} {
			all = append(all, filled{&nftables.Set{Table: t, Name: sharedSet(name, f.v6), KeyType: f.address,
				Interval: true}, intervals(prefixes.Merge(f.of(list)))})
		}
	}
	for _, f := range families() {
		all = append(all, filled{ingressMap(t, f), nil})
	}
	return append(all, filled{policyMap(t), nil})
}

// bridgeSets returns the sets and maps of the bridge table.
func bridgeSets(t *nftables.Table) []filled {
	limited := &nftables.Set{Table: t, Name: setLimited, KeyType: nftables.TypeEtherAddr,
		KeyByteOrder: binaryutil.BigEndian, Comment: "containers with rules for outgoing traffic"}
	waiting := &nftables.Set{Table: t, Name: setHeld, KeyType: nftables.TypeEtherAddr,
		KeyByteOrder: binaryutil.BigEndian, Comment: "interfaces before their policy is in force"}
	guarded := &nftables.Set{Table: t, Name: setGuarded, KeyType: nftables.TypeEtherAddr,
		KeyByteOrder: binaryutil.BigEndian, Comment: "containers with rules for incoming traffic"}
	return []filled{{viaMap(t), nil}, {limited, nil}, {waiting, nil}, {guarded, nil}}
}

func ingressMap(t *nftables.Table, f family) *nftables.Set {
	return &nftables.Set{Table: t, Name: sharedSet(mapIngress, f.v6), KeyType: f.address, IsMap: true,
		DataType: nftables.TypeVerdict, KeyByteOrder: binaryutil.BigEndian, Comment: "container -> its ingress policy"}
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
func (c *installed) sets(t *nftables.Table, learned map[answered.Open]time.Duration) (all []filled) {
	short := id.Short(c.Owner)
	for i, g := range c.inGroups {
		all = append(all, c.static(t, g, i, setFrom)...)
	}
	for i, g := range c.groups {
		all = append(all, c.static(t, g, i, setStatic)...)
		for _, f := range families() {
			if !g.domains {
				continue
			}
			s := filled{set: &nftables.Set{Table: t, KeyType: f.address, HasTimeout: true, Comment: comment(g),
				Name: setName(short, c.generation, i, setNames, f.v6)}}
			for a, left := range learned {
				if a.Group == i && a.Addr.Is6() == f.v6 {
					s.elements = append(s.elements, nftables.SetElement{Key: a.Addr.AsSlice(), Timeout: left})
				}
			}
			all = append(all, s)
		}
	}
	return all
}

// static returns the sets of the addresses of a group's rules.
func (c *installed) static(t *nftables.Table, g group, index int, kind string) (all []filled) {
	for _, f := range families() {
		if list := f.of(g.prefixes); len(list) > 0 {
			all = append(all, filled{&nftables.Set{Table: t, KeyType: f.address, Interval: true, Comment: comment(g),
				Name: setName(id.Short(c.Owner), c.generation, index, kind, f.v6)}, intervals(list)})
		}
	}
	return all
}

// comment returns the comment of a set.
func comment(g group) string { return g.text[:min(len(g.text), maxComment)] }

// queueAdd queues sets, chain and elements of a container.
func (k *kernel) queueAdd(c *installed, learned map[answered.Open]time.Duration, peers func(string) []netip.Prefix) {
	t := k.inet()
	for _, peer := range c.peers() {
		k.queuePeer(peer, peers)
	}
	for _, s := range c.sets(t, learned) {
		_ = k.conn.AddSet(s.set, s.elements)
	}
	for _, one := range c.chains() {
		k.conn.AddChain(&nftables.Chain{Name: one.name, Table: t})
		k.queueRules(t, one.name, one.rules)
	}
	k.queueElements(c, false)
}

// chain is a chain of a container.
type chain struct {
	name  string
	rules []rule
}

// chains returns the chains of a container: one for each direction with rules.
func (c *installed) chains() (all []chain) {
	if len(c.Rules) > 0 {
		all = append(all, chain{chainName(c.Owner, c.generation), chainRules(c)})
	}
	if len(c.Ingress) > 0 {
		all = append(all, chain{ingressChainName(c.Owner, c.generation), ingressRules(c)})
	}
	return all
}

// queueElements adds or removes the map elements of a container.
func (k *kernel) queueElements(c *installed, remove bool) {
	put := k.conn.SetAddElements
	if remove {
		put = k.conn.SetDeleteElements
	}

	for _, s := range k.elements(c) {
		if len(s.elements) > 0 {
			_ = put(s.set, s.elements)
		}
	}
}

// elements returns the elements of a container in shared sets and maps.
func (k *kernel) elements(c *installed) []filled {
	bridge := bridgeSets(k.bridge())
	policies, via, limited, waiting, guarded := filled{set: policyMap(k.inet())}, bridge[0], bridge[1], bridge[2],
		bridge[3]
	for _, mac := range c.held() {
		waiting.elements = append(waiting.elements, nftables.SetElement{Key: mac})
	}
	out := &expr.Verdict{Kind: expr.VerdictGoto, Chain: chainName(c.Owner, c.generation)}
	for mac, bridge := range c.via {
		via.elements = append(via.elements, nftables.SetElement{Key: []byte(mac), Val: bridge})
		if len(c.Rules) > 0 {
			policies.elements = append(policies.elements, nftables.SetElement{Key: []byte(mac), VerdictData: out})
			limited.elements = append(limited.elements, nftables.SetElement{Key: []byte(mac)})
		}
		if len(c.Ingress) > 0 {
			guarded.elements = append(guarded.elements, nftables.SetElement{Key: []byte(mac)})
		}
	}
	all := []filled{policies, via, limited, waiting, guarded}
	if len(c.Ingress) == 0 {
		return all
	}

	in := &expr.Verdict{Kind: expr.VerdictGoto, Chain: ingressChainName(c.Owner, c.generation)}
	for _, f := range families() {
		s := filled{set: ingressMap(k.inet(), f)}
		for _, a := range c.addresses() {
			if a.Is6() == f.v6 {
				s.elements = append(s.elements, nftables.SetElement{Key: a.AsSlice(), VerdictData: in})
			}
		}
		all = append(all, s)
	}
	return all
}

// queueRemove queues the removal of a container's chain and sets, and of the sets of peers that no other
// container names. Its elements must be removed before.
func (k *kernel) queueRemove(c *installed) {
	t := k.inet()
	for _, one := range c.chains() {
		chain := &nftables.Chain{Name: one.name, Table: t}
		k.conn.FlushChain(chain)
		k.conn.DelChain(chain)
	}
	for _, s := range c.sets(t, nil) {
		k.conn.DelSet(s.set)
	}
	for _, peer := range c.peers() {
		k.releasePeer(peer)
	}
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
		if e.isHeld() {
			continue
		}
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

// openLog opens the log of refused packets.
func (k *kernel) openLog() (*nflog.Log, error) {
	return nflog.Open(k.ns.Fd(), nflog.Group{Number: Group, Length: snapLength})
}
