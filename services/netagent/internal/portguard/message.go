package portguard

import (
	"encoding/binary"
	"errors"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Attributes and flags that package unix lacks.
const (
	tableOwner   = 2 // NFT_TABLE_F_OWNER: only the socket that created the table can change it
	tablePersist = 4 // NFT_TABLE_F_PERSIST: the table survives that socket

	attrTableHandle   = 4
	attrTableUserdata = 6
	attrSetDescConcat = 2
	attrSetFieldLen   = 1
	attrElemKeyEnd    = 10
	setConcat         = 0x80
)

// message is one request of a transaction.
type message struct {
	kind   int
	flags  uint16
	family byte
	attrs  []byte
}

// attr appends an attribute.
func attr(to []byte, kind uint16, value []byte) []byte {
	const header, align = 4, 4
	to = binary.NativeEndian.AppendUint16(to, uint16(header+len(value)))
	to = binary.NativeEndian.AppendUint16(to, kind)
	to = append(to, value...)
	for len(to)%align != 0 {
		to = append(to, 0)
	}
	return to
}

func nested(to []byte, kind uint16, value []byte) []byte {
	return attr(to, kind|unix.NLA_F_NESTED, value)
}

func text(to []byte, kind uint16, s string) []byte { return attr(to, kind, append([]byte(s), 0)) }

func number(to []byte, kind uint16, n uint32) []byte {
	return attr(to, kind, binary.BigEndian.AppendUint32(nil, n))
}

// tables are the two tables with a name.
type tables struct {
	name  string
	flags uint32
}

// families returns the families of the tables.
func families() []byte { return []byte{unix.NFPROTO_BRIDGE, unix.NFPROTO_INET} }

// create creates the tables, or takes ownership of existing ones.
func (t tables) create() (out []message) {
	for _, f := range families() {
		a := number(text(nil, unix.NFTA_TABLE_NAME, t.name), unix.NFTA_TABLE_FLAGS, t.flags)
		out = append(out, message{unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, f, attr(a, attrTableUserdata, version())})
	}
	return out
}

// remove deletes the tables, whether they exist or not.
func (t tables) remove() []message {
	out := t.create()
	for _, f := range families() {
		out = append(out, message{unix.NFT_MSG_DELTABLE, 0, f, text(nil, unix.NFTA_TABLE_NAME, t.name)})
	}
	return out
}

// replace replaces the tables by new ones without elements.
func (t tables) replace() ([]message, error) {
	out := append(t.remove(), t.create()...)
	for i, s := range sets() {
		out = append(out, s.create(t.name, uint32(i+1)))
	}

	for _, c := range chains() {
		out = append(out, c.create(t.name))
	}

	var problems error
	for _, c := range chains() {
		for _, r := range c.rules {
			m, err := c.add(t.name, r)
			out, problems = append(out, m), errors.Join(problems, err)
		}
	}

	return out, problems
}

func (s set) create(table string, id uint32) message {
	kind, length := s.keyType()
	flags := uint32(0)
	if s.ranges {
		flags |= unix.NFT_SET_INTERVAL
	}

	if len(s.fields) > 1 {
		flags |= setConcat
	}

	a := text(text(nil, unix.NFTA_SET_TABLE, table), unix.NFTA_SET_NAME, s.name)
	for _, n := range [][2]uint32{{unix.NFTA_SET_FLAGS, flags}, {unix.NFTA_SET_KEY_TYPE, kind},
		{unix.NFTA_SET_KEY_LEN, length}, {unix.NFTA_SET_ID, id}} {
		a = number(a, uint16(n[0]), n[1])
	}

	if len(s.fields) > 1 {
		var fields []byte
		for _, f := range s.fields {
			fields = nested(fields, unix.NFTA_LIST_ELEM, number(nil, attrSetFieldLen, uint32(f)))
		}
		a = nested(a, unix.NFTA_SET_DESC, nested(nil, attrSetDescConcat, fields))
	}
	a = attr(a, unix.NFTA_SET_USERDATA, s.userData())

	return message{unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, s.family, a}
}

func (c chain) create(table string) message {
	a := text(text(nil, unix.NFTA_CHAIN_TABLE, table), unix.NFTA_CHAIN_NAME, c.name)
	if c.hook != noHook {
		hook := number(number(nil, unix.NFTA_HOOK_HOOKNUM, uint32(c.hook)), unix.NFTA_HOOK_PRIORITY, uint32(c.priority))
		a = text(nested(a, unix.NFTA_CHAIN_HOOK, hook), unix.NFTA_CHAIN_TYPE, "filter")
	}
	return message{unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, c.family, a}
}

// add appends a rule to the chain.
func (c chain) add(table string, r rule) (message, error) {
	var list []byte
	for _, e := range r.exprs {
		data, err := expr.Marshal(c.family, e)
		if err != nil {
			return message{}, err
		}
		list = nested(list, unix.NFTA_LIST_ELEM, data)
	}
	a := text(text(nil, unix.NFTA_RULE_TABLE, table), unix.NFTA_RULE_CHAIN, c.name)
	return message{unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE | unix.NLM_F_APPEND, c.family,
		attr(nested(a, unix.NFTA_RULE_EXPRESSIONS, list), unix.NFTA_RULE_USERDATA, r.userData())}, nil
}

// Types of user data, as in nft.
const (
	userRuleComment  = 0
	userSetByteOrder = 0
	userSetComment   = 7
)

// userData encodes the comment of a rule, and nothing else.
func (r rule) userData() []byte { return userText(userRuleComment, r.comment) }

// userData encodes the comment of a set. Names need the byte order of the host: otherwise nft lists them as "".
func (s set) userData() []byte {
	var order []byte
	if len(s.fields) == 1 && s.fields[0] == nameLen {
		const length, host = 4, 1
		order = binary.NativeEndian.AppendUint32([]byte{userSetByteOrder, length}, host)
	}
	return append(order, userText(userSetComment, s.comment)...)
}

// userText encodes a text of at most 127 bytes: type, length, and the text with a zero byte.
func userText(kind byte, text string) []byte {
	return append([]byte{kind, byte(len(text) + 1)}, text+"\x00"...)
}

// mostElements is the maximum number of elements in one message: their length has 16 bits.
const mostElements = 400

// elements removes and adds elements.
func (t tables) elements(remove, add []element) (out []message) {
	for _, step := range []struct {
		kind  int
		flags uint16
		all   []element
	}{{unix.NFT_MSG_DELSETELEM, 0, remove}, {unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, add}} {
		for _, s := range sets() {
			var some []element
			for _, e := range step.all {
				if e.set != s.name {
					continue
				}
				if some = append(some, e); len(some) == mostElements {
					out, some = append(out, s.elements(t.name, step.kind, step.flags, some)), nil
				}
			}
			if len(some) > 0 {
				out = append(out, s.elements(t.name, step.kind, step.flags, some))
			}
		}
	}
	return out
}

func (s set) elements(table string, kind int, flags uint16, all []element) message {
	var list []byte
	for _, e := range all {
		one := nested(nil, unix.NFTA_SET_ELEM_KEY, attr(nil, unix.NFTA_DATA_VALUE, []byte(e.key)))
		if e.end != "" {
			one = nested(one, attrElemKeyEnd, attr(nil, unix.NFTA_DATA_VALUE, []byte(e.end)))
		}
		list = nested(list, unix.NFTA_LIST_ELEM, one)
	}
	a := text(text(nil, unix.NFTA_SET_ELEM_LIST_TABLE, table), unix.NFTA_SET_ELEM_LIST_SET, s.name)
	return message{kind, flags, s.family, nested(a, unix.NFTA_SET_ELEM_LIST_ELEMENTS, list)}
}
