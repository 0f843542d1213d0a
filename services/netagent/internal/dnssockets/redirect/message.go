package redirect

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/crashpoint"
)

// The nftables library waits with select(2), which does not support descriptors from 1024 on, and
// panics there. A process with sockets for each container reaches that number. So this file encodes
// the few messages itself.

const (
	chainName = "output"
	chainType = "filter"
	priority  = -300 // raw: before the connection tracker
	timeLimit = 10 * time.Second
)

// transaction creates table and chain if they do not exist, and replaces the rules. Deleting rules
// makes the kernel wait for a few milliseconds, but only if there are any.
func transaction(rules [][]expr.Any) ([]netlink.Message, error) {
	all := []netlink.Message{batchMessage(unix.NFNL_MSG_BATCH_BEGIN)}
	var problems error
	add := func(kind int, flags netlink.HeaderFlags, fill func(*netlink.AttributeEncoder)) {
		m, err := message(kind, flags, fill)
		all, problems = append(all, m), errors.Join(problems, err)
	}
	add(unix.NFT_MSG_NEWTABLE, netlink.Create, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_TABLE_NAME, TableName)
		ae.Uint32(unix.NFTA_TABLE_FLAGS, 0)
	})
	add(unix.NFT_MSG_NEWCHAIN, netlink.Create, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_CHAIN_TABLE, TableName)
		ae.String(unix.NFTA_CHAIN_NAME, chainName)
		ae.Nested(unix.NFTA_CHAIN_HOOK, func(hook *netlink.AttributeEncoder) error {
			hook.Uint32(unix.NFTA_HOOK_HOOKNUM, unix.NF_INET_LOCAL_OUT)
			hook.Int32(unix.NFTA_HOOK_PRIORITY, priority)
			return nil
		})
		ae.String(unix.NFTA_CHAIN_TYPE, chainType)
	})
	ofChain := func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_RULE_TABLE, TableName)
		ae.String(unix.NFTA_RULE_CHAIN, chainName)
	}
	add(unix.NFT_MSG_DELRULE, 0, ofChain)
	for _, exprs := range rules {
		add(unix.NFT_MSG_NEWRULE, netlink.Create|netlink.Append, func(ae *netlink.AttributeEncoder) {
			ofChain(ae)
			ae.Nested(unix.NFTA_RULE_EXPRESSIONS, func(list *netlink.AttributeEncoder) error {
				return encode(list, exprs)
			})
		})
	}

	return append(all, batchMessage(unix.NFNL_MSG_BATCH_END)), problems
}

func encode(list *netlink.AttributeEncoder, exprs []expr.Any) error {
	for _, e := range exprs {
		data, err := expr.Marshal(unix.NFPROTO_IPV4, e)
		if err != nil {
			return err
		}
		list.Bytes(unix.NLA_F_NESTED|unix.NFTA_LIST_ELEM, data)
	}
	return nil
}

func message(kind int, flags netlink.HeaderFlags, fill func(*netlink.AttributeEncoder)) (netlink.Message, error) {
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	fill(ae)
	data, err := ae.Encode()
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind),
			Flags: netlink.Request | netlink.Acknowledge | flags},
		Data: append([]byte{unix.NFPROTO_IPV4, unix.NFNETLINK_V0, 0, 0}, data...),
	}, err
}

// batchMessage starts or ends a transaction.
func batchMessage(kind uint16) netlink.Message {
	return netlink.Message{Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request},
		Data: []byte{unix.NFPROTO_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES}}
}

// send executes a transaction atomically.
func send(namespace int, messages []netlink.Message) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: namespace})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(timeLimit)); err != nil {
		return err
	}

	if err := crashpoint.Before(crashpoint.Firewall, "redirect"); err != nil {
		return err
	}
	defer func() { _ = crashpoint.After(crashpoint.Firewall, "redirect") }()
	if _, err := conn.SendMessages(messages); err != nil {
		return err
	}

	for acknowledged := 0; acknowledged < len(messages)-2; {
		replies, err := conn.Receive()
		if err != nil {
			return err
		}
		acknowledged += len(replies)
	}

	return nil
}

// Present reports whether the namespace of a descriptor has all rules.
func Present(namespace int) (bool, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: namespace})
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(timeLimit)); err != nil {
		return false, err
	}

	ask, err := message(unix.NFT_MSG_GETRULE, netlink.Dump, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_RULE_TABLE, TableName)
	})
	if err != nil {
		return false, err
	}

	ask.Header.Flags &^= netlink.Acknowledge
	replies, err := conn.Execute(ask)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}

	return len(replies) == ruleCount, err
}
