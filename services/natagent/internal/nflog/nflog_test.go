package nflog

import (
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func message(kind netlink.HeaderType, attributes ...netlink.Attribute) netlink.Message {
	data, err := netlink.MarshalAttributes(attributes)
	if err != nil {
		panic(err)
	}
	return netlink.Message{Header: netlink.Header{Type: kind}, Data: append([]byte{unix.AF_INET, 0, 0, 1}, data...)}
}

func TestParse(t *testing.T) {
	const packet = unix.NFNL_SUBSYS_ULOG<<8 | msgPacket
	prefix := netlink.Attribute{Type: attrPrefix, Data: []byte("fairlead 0123 policy\x00")}
	payload := netlink.Attribute{Type: attrPayload, Data: []byte{0x45, 0}}

	m := message(packet, prefix, payload)
	got, ok := parse(m)
	if !ok || got.Prefix != "fairlead 0123 policy" || string(got.Data) != "\x45\x00" {
		t.Errorf("got %+v, %t", got, ok)
	}
	for i := range m.Data {
		m.Data[i] = 0xff // the buffer is used again
	}
	if string(got.Data) != "\x45\x00" {
		t.Error("the packet changes with the buffer")
	}

	broken := message(packet, prefix)
	broken.Data = broken.Data[:len(broken.Data)-8]
	for name, m := range map[string]netlink.Message{
		"configuration": message(unix.NFNL_SUBSYS_ULOG<<8|msgConfig, prefix, payload),
		"short":         {Header: netlink.Header{Type: packet}, Data: []byte{unix.AF_INET}},
		"cut off":       broken,
	} {
		if got, ok := parse(m); ok {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}
