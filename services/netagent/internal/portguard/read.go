package portguard

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// send executes a transaction.
func (g *Guard) send(messages []message) error { return g.socket.execute(messages) }

// probe probes the kernel's features with temporary tables and returns the flags for tables.
func (g *Guard) probe() (flags uint32, err error) {
	for _, flags = range []uint32{tableOwner | tablePersist, 0} {
		t := tables{fmt.Sprintf("%s-probe%d", TableName, g.socket.port), flags}
		skeleton, err := t.replace()
		if err != nil {
			return 0, err
		}
		if err = g.send(append(skeleton, t.remove()...)); err == nil {
			return flags, nil
		}
		g.missing = err
	}
	return 0, fmt.Errorf("nftables of families bridge and inet: %w", g.missing)
}

// read returns the fingerprint of tables, chains and rules, and all elements. mu must be held.
func (g *Guard) read() (prints []byte, elements map[element]bool, err error) {
	there := 0
	err = g.socket.list(message{kind: unix.NFT_MSG_GETTABLE}, func(data []byte) {
		table := attrs(data)
		if string(table[unix.NFTA_TABLE_NAME]) == g.tables.name+"\x00" {
			there++
			prints = fmt.Appendf(prints, "table %x %s\n", table[attrTableHandle], table[attrTableUserdata])
		}
	})
	for _, f := range families() {
		for _, kind := range []int{unix.NFT_MSG_GETCHAIN, unix.NFT_MSG_GETRULE} {
			lerr := g.socket.list(message{kind: kind, family: f}, func(data []byte) {
				a := attrs(data)
				if string(a[unix.NFTA_RULE_TABLE]) == g.tables.name+"\x00" { // chains use the same attribute number
					prints = fmt.Appendf(prints, "%d %x %q\n", kind, a[handleOf(kind)], a[nameOf(kind)])
				}
			})
			err = errors.Join(err, lerr)
		}
	}

	elements = map[element]bool{}
	if there < len(families()) {
		return prints, elements, err
	}

	for _, s := range sets() {
		a := text(text(nil, unix.NFTA_SET_ELEM_LIST_TABLE, g.tables.name), unix.NFTA_SET_ELEM_LIST_SET, s.name)
		lerr := g.socket.list(message{kind: unix.NFT_MSG_GETSETELEM, family: s.family, attrs: a}, func(data []byte) {
			s.readElements(data, elements)
		})
		if !errors.Is(lerr, unix.ENOENT) {
			err = errors.Join(err, lerr)
		}
	}

	return prints, elements, err
}

func (s set) readElements(data []byte, into map[element]bool) {
	eachAttr(attrs(data)[unix.NFTA_SET_ELEM_LIST_ELEMENTS], func(_ uint16, one []byte) {
		a := attrs(one)
		e := element{set: s.name, key: string(attrs(a[unix.NFTA_SET_ELEM_KEY])[unix.NFTA_DATA_VALUE])}
		if end, ok := a[attrElemKeyEnd]; ok && s.ranges {
			e.end = string(attrs(end)[unix.NFTA_DATA_VALUE])
		}
		into[e] = true
	})
}

func attrs(data []byte) map[uint16][]byte {
	out := map[uint16][]byte{}
	eachAttr(data, func(kind uint16, value []byte) { out[kind] = value })
	return out
}

// handleOf returns the attribute with the handle of a chain or rule. A replaced rule has a new
// handle.
func handleOf(kind int) uint16 {
	if kind == unix.NFT_MSG_GETCHAIN {
		return unix.NFTA_CHAIN_HANDLE
	}
	return unix.NFTA_RULE_HANDLE
}

func nameOf(kind int) uint16 {
	if kind == unix.NFT_MSG_GETCHAIN {
		return unix.NFTA_CHAIN_NAME
	}
	return unix.NFTA_RULE_CHAIN
}
