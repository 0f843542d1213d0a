package nfqueue

import (
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func TestParse(t *testing.T) {
	packet := func(kind netlink.HeaderType, attributes ...netlink.Attribute) netlink.Message {
		data, err := netlink.MarshalAttributes(attributes)
		if err != nil {
			t.Fatal(err)
		}
		return netlink.Message{Header: netlink.Header{Type: unix.NFNL_SUBSYS_QUEUE<<8 | kind},
			Data: append([]byte{unix.AF_INET, 0, 4, 1}, data...)}
	}
	header := netlink.Attribute{Type: attrHeader, Data: []byte{0, 0, 1, 2, 8, 0, 2}}
	address := netlink.Attribute{Type: attrAddress, Data: []byte{0, 6, 0, 0, 2, 0, 0, 0, 0, 10, 0, 0}}
	payload := netlink.Attribute{Type: attrPayload, Data: []byte{0x45, 0}}

	p, ok := parse(packet(msgPacket, header, address, payload))
	if !ok || p.id != 258 || p.Queue != 1025 || p.Sender != [6]byte{2, 0, 0, 0, 0, 10} ||
		string(p.Data) != "\x45\x00" ||
		p.Truncated {
		t.Errorf("got %+v, %t", p, ok)
	}
	if p, ok = parse(packet(msgPacket, header, payload, netlink.Attribute{Type: attrLength,
		Data: []byte{0, 1, 0, 0}})); !ok || !p.Truncated || p.Sender != [6]byte{} {
		t.Errorf("truncated: got %+v, %t", p, ok)
	}
	for name, m := range map[string]netlink.Message{
		"no header":    packet(msgPacket, payload),
		"short header": packet(msgPacket, netlink.Attribute{Type: attrHeader, Data: []byte{0}}),
		"verdict":      packet(msgVerdict, header),
		"short":        {Header: netlink.Header{Type: unix.NFNL_SUBSYS_QUEUE << 8}, Data: []byte{0}},
	} {
		if p, ok := parse(m); ok {
			t.Errorf("%s: got %+v", name, p)
		}
	}
}
