package nfevents

import (
	"encoding/binary"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
)

// attr encodes an attribute.
func attr(kind uint16, value ...byte) []byte {
	a := binary.NativeEndian.AppendUint16(nil, uint16(attrLength+len(value)))
	a = append(binary.NativeEndian.AppendUint16(a, kind), value...)
	return append(a, make([]byte, -len(a)&3)...)
}

func textAttr(kind uint16, value string) []byte { return attr(kind, append([]byte(value), 0)...) }

func numberAttr(kind uint16, value uint32) []byte {
	return attr(kind, binary.BigEndian.AppendUint32(nil, value)...)
}

// encode encodes a message of the netlink port 77.
func encode(kind uint16, family byte, attrs ...[]byte) []byte {
	body := []byte{family, 0, 0, 0}
	for _, a := range attrs {
		body = append(body, a...)
	}
	m := binary.NativeEndian.AppendUint32(nil, uint32(headerLength+len(body)))
	m = binary.NativeEndian.AppendUint16(m, unix.NFNL_SUBSYS_NFTABLES<<8|kind)
	m = binary.NativeEndian.AppendUint16(m, 0)
	m = binary.NativeEndian.AppendUint32(m, 5)
	m = binary.NativeEndian.AppendUint32(m, 77)
	return append(m, body...)
}

// generation is the last message of a transaction.
func generation(number uint32) []byte {
	return encode(unix.NFT_MSG_NEWGEN, 0, numberAttr(unix.NFTA_GEN_ID, number),
		numberAttr(unix.NFTA_GEN_PROC_PID, 4321), textAttr(unix.NFTA_GEN_PROC_NAME, "nft"))
}

// rule is a message about a rule.
func rule(chain string) []byte {
	return encode(unix.NFT_MSG_NEWRULE, unix.NFPROTO_INET, textAttr(unix.NFTA_RULE_TABLE, "mine"),
		textAttr(unix.NFTA_RULE_CHAIN, chain), attr(unix.NFTA_RULE_EXPRESSIONS|unix.NLA_F_NESTED, 1, 2, 3))
}

func parseAll(t *testing.T, datagrams ...[]byte) (all []Transaction) {
	t.Helper()
	p := &parser{emit: func(t Transaction) { all = append(all, t) }}
	for _, d := range datagrams {
		if err := p.add(d); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func join(messages ...[]byte) (all []byte) {
	for _, m := range messages {
		all = append(all, m...)
	}
	return all
}

func TestTransactionsAreJoinedFromDatagrams(t *testing.T) {
	hook := join(numberAttr(unix.NFTA_HOOK_PRIORITY, 10), numberAttr(unix.NFTA_HOOK_HOOKNUM, unix.NF_INET_FORWARD))
	foreign := encode(unix.NFT_MSG_NEWRULE, 1)
	binary.NativeEndian.PutUint16(foreign[4:], unix.NFNL_SUBSYS_CTNETLINK<<8)
	got := parseAll(t,
		join(encode(unix.NFT_MSG_NEWTABLE, unix.NFPROTO_INET, textAttr(unix.NFTA_TABLE_NAME, "mine")),
			encode(unix.NFT_MSG_NEWCHAIN, unix.NFPROTO_INET, textAttr(unix.NFTA_CHAIN_TABLE, "mine"),
				numberAttr(unix.NFTA_CHAIN_POLICY, 1), textAttr(unix.NFTA_CHAIN_NAME, "f"),
				attr(unix.NFTA_CHAIN_HOOK|unix.NLA_F_NESTED, hook...))),
		join(rule("f"), rule("f"), rule("g"), rule("f"), foreign),
		join(encode(unix.NFT_MSG_DELSETELEM, unix.NFPROTO_IPV4, textAttr(unix.NFTA_SET_ELEM_LIST_TABLE, "other"),
			textAttr(unix.NFTA_SET_ELEM_LIST_SET, "s")), generation(8),
			encode(unix.NFT_MSG_DELSET, unix.NFPROTO_IPV4, textAttr(unix.NFTA_SET_TABLE, "other")),
			encode(unix.NFT_MSG_NEWOBJ, unix.NFPROTO_IPV4, textAttr(unix.NFTA_OBJ_TABLE, "other"))),
		generation(9))

	const inet, ip = unix.NFPROTO_INET, unix.NFPROTO_IPV4
	one := Transaction{Port: 77, Process: "nft", PID: 4321}
	first, second := one, one
	first.Generation, first.Changes = 8, []Change{{Kind: Table, Family: inet, Table: "mine"},
		{Kind: Chain, Family: inet, Table: "mine", Chain: "f", Base: true, Hook: unix.NF_INET_FORWARD},
		{Kind: Rule, Family: inet, Table: "mine", Chain: "f"}, {Kind: Rule, Family: inet, Table: "mine", Chain: "g"},
		{Kind: Rule, Family: inet, Table: "mine", Chain: "f"}, {Kind: Elements, Family: ip, Table: "other"}}
	second.Generation, second.Changes = 9, []Change{{Kind: Set, Family: ip, Table: "other"},
		{Kind: Other, Family: ip, Table: "other"}}
	if want := []Transaction{first, second}; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDamagedDatagramsAreErrors(t *testing.T) {
	for name, d := range map[string][]byte{
		"short header":    rule("c")[:12],
		"short message":   {20, 0, 0, 0, 6, 10, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0},
		"without family":  {16, 0, 0, 0, 6, 10, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0},
		"end in a rule":   rule("c")[:30],
		"short attribute": encode(unix.NFT_MSG_NEWTABLE, 1, []byte{3, 0, 1, 0}),
		"long attribute":  encode(unix.NFT_MSG_NEWTABLE, 1, []byte{12, 0, 1, 0, 65, 0, 0, 0}),
		"short hook": encode(unix.NFT_MSG_NEWCHAIN, 1,
			attr(unix.NFTA_CHAIN_HOOK, attr(unix.NFTA_HOOK_HOOKNUM, 1)...)),
		"short number": encode(unix.NFT_MSG_NEWGEN, 0, attr(unix.NFTA_GEN_ID, 1, 2)),
	} {
		p := &parser{emit: func(got Transaction) { t.Errorf("%s: got %+v", name, got) }}
		if err := p.add(d); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(join(rule("c"), rule("c"), generation(3)))
	f.Add(encode(unix.NFT_MSG_NEWCHAIN, 1, textAttr(unix.NFTA_CHAIN_NAME, "f"),
		attr(unix.NFTA_CHAIN_HOOK, numberAttr(unix.NFTA_HOOK_HOOKNUM, 2)...)))
	f.Fuzz(func(t *testing.T, data []byte) {
		changes := 0
		p := &parser{emit: func(got Transaction) { changes += len(got.Changes) }}
		_ = p.add(data)
		if most := len(data) / (headerLength + familyLength); changes+len(p.changes) > most {
			t.Errorf("got %d changes of at most %d messages", changes+len(p.changes), most)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	var data []byte
	for range 100 {
		data = append(data, rule("chain")...)
	}
	data = append(data, generation(3)...)
	p := &parser{emit: func(Transaction) {}}
	for b.Loop() {
		_ = p.add(data)
	}
}
