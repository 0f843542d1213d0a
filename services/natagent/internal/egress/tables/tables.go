// Package tables keeps the two tables of egress policies in the kernel: it writes what package rules returns,
// each change in one transaction, and reads what is present. Package egress decides what is in force.
package tables

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nflink"
	nft "github.com/fairlead/fairlead/services/natagent/internal/firewall/nftables"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// Tables writes both tables. Its methods are not safe for concurrent use.
type Tables struct {
	ns     hostns.NS
	name   string       // of the tables that are written
	conn   *nflink.Link // nil until open
	flags  nftables.TableFlags
	queue  rules.QueueKind
	peers  map[string][]netip.Prefix // sets of containers, networks and labels, merged
	naming map[string]int            // how many chains name a peer
	chains map[string]*sharedChain   // of policies, by name
	limits limits

	bridges map[string]bridge // by network
}

// New returns Tables in a network namespace. They must be opened before use.
func New(ns hostns.NS) *Tables {
	return &Tables{ns: ns, name: rules.TableName, bridges: map[string]bridge{}}
}

func (k *Tables) inet() *nftables.Table {
	return &nftables.Table{Name: k.name, Family: nftables.TableFamilyINet, Flags: k.flags}
}

func (k *Tables) bridge() *nftables.Table {
	return &nftables.Table{Name: k.name, Family: nftables.TableFamilyBridge, Flags: k.flags}
}

// Open opens the socket. It fails without nf_tables.
func (k *Tables) Open(ctx context.Context) error {
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

	k.conn, k.queue = conn, rules.ProbeQueue(conn.Conn)
	if features.Owner {
		k.flags = nftables.TableFlagOwner | nftables.TableFlagPersist
	}
	return nil
}

// Close closes the socket. The tables stay.
func (k *Tables) Close() error {
	if k.conn == nil {
		return nil
	}
	return k.conn.Close()
}

// queueBase queues what does not belong to one container, without chains with hooks.
func (k *Tables) queueBase() {
	inet, bridge := k.inet(), k.bridge()
	for _, t := range []*nftables.Table{inet, bridge} {
		k.conn.AddTable(t)
	}
	for _, s := range slices.Concat(rules.BaseSets(inet), rules.BridgeSets(bridge)) {
		_ = k.conn.AddSet(s.Set, s.Elements)
	}
	queueChains(k, false)
}

// queueChains queues the chains that do not belong to one container: those with hooks, or all others.
func queueChains(k *Tables, hooked bool) {
	inet, bridge := k.inet(), k.bridge()
	for _, t := range []*nftables.Table{inet, bridge} {
		k.conn.AddTable(t) // this process owns it
	}
	for _, c := range rules.BaseChains(inet) {
		if hooked == (c.Hooknum != nil) {
			k.conn.AddChain(c)
			queueRules(k.conn, inet, c.Name, rules.BaseRules(k.queue)[c.Name])
		}
	}
	chains, lists := rules.BridgeChains(bridge)
	for i, c := range chains {
		if hooked == (c.Hooknum != nil) {
			k.conn.AddChain(c)
			queueRules(k.conn, bridge, c.Name, lists[i])
		}
	}
}

func queueRules(conn *nflink.Link, t *nftables.Table, chain string, list []rules.Rule) {
	for _, r := range list {
		conn.AddRule(&nftables.Rule{Table: t, Chain: &nftables.Chain{Name: chain, Table: t}, Exprs: r.Exprs,
			UserData: r.UserData()})
	}
}

// queueElements adds or removes the map elements of a container.
func (k *Tables) queueElements(c *plan.Plan, remove bool) {
	put := k.conn.SetAddElements
	if remove {
		put = k.conn.SetDeleteElements
	}

	for _, s := range rules.Elements(k.inet(), k.bridge(), c) {
		if len(s.Elements) > 0 {
			_ = put(s.Set, s.Elements)
		}
	}
}

func (k *Tables) commit() error { return commit(k.conn) }

func commit(conn *nflink.Link) error {
	switch err := conn.Flush(); {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return fault.New(fault.Denied, "table "+rules.TableName, "cannot be changed: permission denied",
			fault.WithCause(err),
			fault.WithHint("grant natagent CAP_NET_ADMIN in the host's network namespace"))
	default:
		return fault.New(fault.Internal, "table "+rules.TableName, "cannot be changed", fault.WithCause(err))
	}
}

// CheckSupport rejects a policy that the kernel cannot enforce.
func (k *Tables) CheckSupport(c *plan.Plan) error {
	if !c.Out.ChecksServers() {
		return nil
	}
	if c.HasInside() {
		return fault.New(fault.Invalid, c.Subject(),
			"names of servers on ports 443 and 80 cannot be checked on macvlan "+
				"and ipvlan networks", fault.WithField("egress"), fault.WithHint("write the rules with /any-name"))
	}
	if k.queue != rules.NoQueue {
		return nil
	}
	return fault.New(fault.Unavailable, c.Subject(), "names of servers on ports 443 and 80 cannot be checked: "+
		"the kernel cannot queue packets", fault.WithHint("load the module nft_queue, or write the rules with "+
		"/any-name (CONFIG_NFT_QUEUE, CONFIG_NF_CONNTRACK_LABELS)"))
}

// BridgeMACs returns the bridge's address for each endpoint of a container.
func (k *Tables) BridgeMACs(c *plan.Container, bridge func(network string) (string, bool)) (map[string][]byte, error) {
	via := map[string][]byte{}
	for _, e := range c.Endpoints {
		if e.IsHeld() || e.Inside {
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

		address, err := k.bridgeMAC(e.NetworkID, name)
		if err != nil {
			return nil, err
		}
		if c.IsRouted() {
			via[string(mac)] = address
		}
	}
	return via, nil
}

// bridge is the address of a bridge when it was read.
type bridge struct {
	name string
	mac  []byte
	read time.Time
}

// maxBridgeAge bounds the age of the address of a bridge: to read one, the kernel lists all interfaces.
const maxBridgeAge = time.Second

// bridgeMAC returns the address of the bridge of a network.
func (k *Tables) bridgeMAC(network, name string) ([]byte, error) {
	now := time.Now()
	if b := k.bridges[network]; b.name == name && now.Sub(b.read) < maxBridgeAge {
		return b.mac, nil
	}
	maps.DeleteFunc(k.bridges, func(_ string, b bridge) bool { return now.Sub(b.read) >= maxBridgeAge })

	var link *net.Interface
	if err := k.ns.Do(func() (err error) { link, err = net.InterfaceByName(name); return err }); err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "bridge "+name, "cannot be read")
	}
	k.bridges[network] = bridge{name, link.HardwareAddr, now}
	return link.HardwareAddr, nil
}

// IsOwned reports whether other programs cannot change the tables.
func (k *Tables) IsOwned() bool { return k.flags != 0 }

// QueuesPackets reports whether the kernel can queue packets, so that names of servers are checked.
func (k *Tables) QueuesPackets() bool { return k.queue != rules.NoQueue }
