package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sort"
	"strings"
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
		all = append(all, filled{&nftables.Set{Table: t, Name: addressMap(f.v6), KeyType: f.address, IsMap: true,
			DataType: nftables.TypeVerdict, Comment: "container -> its policy"}, nil})
	}
	return all
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

	for _, f := range families() {
		var list []nftables.SetElement
		for _, a := range c.addresses() {
			if a.Is6() == f.v6 {
				list = append(list, nftables.SetElement{Key: a.AsSlice(),
					VerdictData: &expr.Verdict{Kind: expr.VerdictGoto,
						Chain: chainName(c.Owner, c.generation)}})
			}
		}
		if len(list) > 0 {
			_ = put(&nftables.Set{Table: k.inet(), Name: addressMap(f.v6), KeyType: f.address, IsMap: true,
				DataType: nftables.TypeVerdict}, list)
		}
	}

	var list []nftables.SetElement
	for mac, bridge := range c.via {
		list = append(list, nftables.SetElement{Key: []byte(mac), Val: bridge})
	}
	if len(list) > 0 {
		_ = put(viaMap(k.bridge()), list)
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

// read returns the present chains, rules, sets and map elements as text, for comparison with want.
func (k *kernel) read() (string, error) {
	var lines []string
	for _, t := range []*nftables.Table{k.inet(), k.bridge()} {
		chains, err := k.conn.ListChainsOfTableFamily(t.Family)
		if err != nil {
			return "", fmt.Errorf("list chains: %w", err)
		}
		for _, c := range chains {
			if c.Table.Name != TableName {
				continue
			}
			rules, err := k.conn.GetRules(t, c)
			if err != nil {
				return "", fmt.Errorf("list rules of %s: %w", c.Name, err)
			}
			lines = append(lines, fmt.Sprintf("chain %d %s %d rules", t.Family, c.Name, len(rules)))
		}

		sets, err := k.conn.GetSets(t)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return "", fmt.Errorf("list sets: %w", err)
		}
		for _, s := range sets {
			if s.HasTimeout {
				lines = append(lines, "set "+s.Name)
				continue
			}
			list, err := k.conn.GetSetElements(s)
			if err != nil {
				return "", fmt.Errorf("list elements of %s: %w", s.Name, err)
			}
			lines = append(lines, fmt.Sprintf("set %s %d elements", s.Name, starts(list)))
		}
	}

	sort.Strings(lines)
	return strings.Join(lines, "\n"), nil
}

// refused returns the sum of the counters of the rules that refuse packets of a container.
func (k *kernel) refused(c *installed) (total uint64, err error) {
	t := k.inet()
	rules, err := k.conn.GetRules(t, &nftables.Chain{Name: chainName(c.Owner, c.generation), Table: t})
	for _, r := range rules {
		var packets uint64
		for _, e := range r.Exprs {
			switch e := e.(type) {
			case *expr.Counter:
				packets = e.Packets
			case *expr.Verdict:
				if e.Chain == chainRefused {
					total += packets
				}
			}
		}
	}
	return total, err
}

// starts counts the elements without ends of intervals, which the kernel also returns for an open one.
func starts(list []nftables.SetElement) (n int) {
	for _, e := range list {
		if !e.IntervalEnd {
			n++
		}
	}
	return n
}

// want returns what read returns if nothing is missing.
func (k *kernel) want(all []*installed) string {
	var lines []string
	chain := func(t *nftables.Table, name string, rules []rule) {
		lines = append(lines, fmt.Sprintf("chain %d %s %d rules", t.Family, name, len(rules)))
	}
	set := func(s filled, more int) {
		if s.set.HasTimeout {
			lines = append(lines, "set "+s.set.Name)
			return
		}
		lines = append(lines, fmt.Sprintf("set %s %d elements", s.set.Name, starts(s.elements)+more))
	}

	addresses, frames := map[string]int{}, 0
	for _, c := range all {
		chain(k.inet(), chainName(c.Owner, c.generation), chainRules(c.Container, c.generation))
		for _, s := range c.sets(k.inet(), nil) {
			set(s, 0)
		}
		for _, a := range c.addresses() {
			addresses[addressMap(a.Is6())]++
		}
		frames += len(c.via)
	}

	for name, rules := range baseRules() {
		chain(k.inet(), name, rules)
	}
	for _, s := range baseSets(k.inet()) {
		set(s, addresses[s.set.Name])
	}
	chain(k.bridge(), bridgeChain(k.bridge()).Name, bridgeRules())
	set(filled{set: viaMap(k.bridge())}, frames)

	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// learned returns the learned addresses in the kernel, by short container ID, for a process that starts.
func (k *kernel) learned() (map[string]map[answer]time.Duration, error) {
	sets, err := k.conn.GetSets(k.inet())
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list sets: %w", err)
	}

	all := map[string]map[answer]time.Duration{}
	for _, s := range sets {
		var generation uint64
		var group, family int
		short, rest, _ := strings.Cut(s.Name, "_")
		if n, _ := fmt.Sscanf(rest, "%d_names%d_%d", &generation, &group, &family); n != 3 {
			continue
		}
		list, err := k.conn.GetSetElements(s)
		if err != nil {
			return nil, fmt.Errorf("list elements of %s: %w", s.Name, err)
		}
		for _, e := range list {
			if addr, ok := netip.AddrFromSlice(e.Key); ok && e.Expires > 0 {
				if all[short] == nil {
					all[short] = map[answer]time.Duration{}
				}
				all[short][answer{group, addr}] = e.Expires
			}
		}
	}
	return all, nil
}
