package nfevents

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// Sizes of headers.
const (
	headerLength = unix.NLMSG_HDRLEN
	familyLength = 4 // struct nfgenmsg
	attrLength   = unix.SizeofNlAttr
)

// Attributes that have the same number in all messages that contain them.
const (
	attrTable = unix.NFTA_TABLE_NAME
	attrFlags = uint16(unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
)

// kinds maps the types of messages to kinds.
var kinds = map[uint16]Kind{
	unix.NFT_MSG_NEWTABLE: Table, unix.NFT_MSG_DELTABLE: Table,
	unix.NFT_MSG_NEWCHAIN: Chain, unix.NFT_MSG_DELCHAIN: Chain,
	unix.NFT_MSG_NEWRULE: Rule, unix.NFT_MSG_DELRULE: Rule,
	unix.NFT_MSG_NEWSET: Set, unix.NFT_MSG_DELSET: Set,
	unix.NFT_MSG_NEWSETELEM: Elements, unix.NFT_MSG_DELSETELEM: Elements,
}

// parser joins messages to transactions.
type parser struct {
	emit    func(Transaction)
	changes []Change // of the transaction that is not complete
}

// add parses a datagram and emits the transactions that it completes.
func (p *parser) add(data []byte) error {
	for len(data) > 0 {
		if len(data) < headerLength {
			return fmt.Errorf("%d bytes after the last message", len(data))
		}
		length := binary.NativeEndian.Uint32(data)
		if length < headerLength || uint64(length) > uint64(len(data)) {
			return fmt.Errorf("message of %d bytes among %d", length, len(data))
		}
		if err := p.message(data[:length]); err != nil {
			return err
		}
		data = data[min(len(data), align(int(length))):]
	}
	return nil
}

// message parses a message with its header.
func (p *parser) message(m []byte) error {
	kind := binary.NativeEndian.Uint16(m[4:])
	if kind>>8 != unix.NFNL_SUBSYS_NFTABLES {
		return nil
	}
	if len(m) < headerLength+familyLength {
		return fmt.Errorf("message of type %#x with %d bytes", kind, len(m))
	}
	family, attrs := m[headerLength], m[headerLength+familyLength:]
	if kind &= 0xff; kind != unix.NFT_MSG_NEWGEN {
		return p.change(kind, family, attrs)
	}

	t := Transaction{Port: binary.NativeEndian.Uint32(m[12:]), Changes: p.changes}
	p.changes = nil
	err := each(attrs, func(kind uint16, value []byte) (err error) {
		switch kind {
		case unix.NFTA_GEN_ID:
			t.Generation, err = number(value)
		case unix.NFTA_GEN_PROC_PID:
			t.PID, err = number(value)
		case unix.NFTA_GEN_PROC_NAME:
			t.Process = string(text(value))
		}
		return err
	})
	if err != nil {
		return err
	}
	p.emit(t)
	return nil
}

// change adds a change to the current transaction.
func (p *parser) change(message uint16, family byte, attrs []byte) error {
	c := Change{Kind: kinds[message], Family: family}
	var table, chain []byte
	err := each(attrs, func(kind uint16, value []byte) (err error) {
		switch {
		case kind == attrTable:
			table = text(value)
		case c.Kind == Rule && kind == unix.NFTA_RULE_CHAIN, c.Kind == Chain && kind == unix.NFTA_CHAIN_NAME:
			chain = text(value)
		case c.Kind == Chain && kind == unix.NFTA_CHAIN_HOOK:
			c.Base = true
			c.Hook, err = hookOf(value)
		}
		return err
	})
	if err != nil {
		return err
	}

	if last := len(p.changes) - 1; last >= 0 { // names are usually those of the change before
		before := p.changes[last]
		if string(table) == before.Table {
			c.Table = before.Table
		}
		if string(chain) == before.Chain {
			c.Chain = before.Chain
		}
		if len(table) == len(c.Table) && len(chain) == len(c.Chain) && c == before {
			return nil
		}
	}
	if c.Table == "" {
		c.Table = string(table)
	}
	if c.Chain == "" {
		c.Chain = string(chain)
	}
	p.changes = append(p.changes, c)
	return nil
}

// hookOf returns the number of a chain's hook.
func hookOf(attrs []byte) (hook uint32, err error) {
	err = each(attrs, func(kind uint16, value []byte) (err error) {
		if kind == unix.NFTA_HOOK_HOOKNUM {
			hook, err = number(value)
		}
		return err
	})
	return hook, err
}

// each calls f with the type and value of each attribute.
func each(attrs []byte, f func(kind uint16, value []byte) error) error {
	for len(attrs) > 0 {
		if len(attrs) < attrLength {
			return fmt.Errorf("%d bytes after the last attribute", len(attrs))
		}
		length := int(binary.NativeEndian.Uint16(attrs))
		if length < attrLength || length > len(attrs) {
			return fmt.Errorf("attribute of %d bytes among %d", length, len(attrs))
		}
		if err := f(binary.NativeEndian.Uint16(attrs[2:])&^attrFlags, attrs[attrLength:length]); err != nil {
			return err
		}
		attrs = attrs[min(len(attrs), align(length)):]
	}
	return nil
}

func align(length int) int { return (length + 3) &^ 3 }

func number(value []byte) (uint32, error) {
	if len(value) != 4 {
		return 0, fmt.Errorf("number of %d bytes", len(value))
	}
	return binary.BigEndian.Uint32(value), nil
}

// text returns a text without its final zero.
func text(value []byte) []byte {
	before, _, _ := bytes.Cut(value, []byte{0})
	return before
}
