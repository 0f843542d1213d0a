package nfqueue

import (
	"encoding/binary"
	"errors"
	"os"
	"syscall"
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
	if !ok || p.ID != 258 || p.Queue != 1025 || p.Sender != [6]byte{2, 0, 0, 0, 0, 10} ||
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

func TestAcknowledges(t *testing.T) {
	response := func(kind netlink.HeaderType, sequence uint32, code int32) netlink.Message {
		return netlink.Message{Header: netlink.Header{Type: kind, Sequence: sequence},
			Data: binary.NativeEndian.AppendUint32(nil, uint32(code))}
	}
	for _, c := range []struct {
		what string
		m    netlink.Message
		done bool
		err  error
	}{
		{"acknowledgement", response(netlink.Error, 7, 0), true, nil},
		{"error", response(netlink.Error, 7, -int32(unix.EBUSY)), true, unix.EBUSY},
		{"error of a verdict", response(netlink.Error, 6, -int32(unix.ENOENT)), false, nil},
		{"packet", response(unix.NFNL_SUBSYS_QUEUE<<8|msgPacket, 0, 0), false, nil},
		{"short", netlink.Message{Header: netlink.Header{Type: netlink.Error, Sequence: 7}}, false, nil},
	} {
		if done, err := acknowledges(c.m, 7); done != c.done || !errors.Is(err, c.err) {
			t.Errorf("%s: got %t, %v", c.what, done, err)
		}
	}
}

// busySocket is a socket of a queue that has packets: one arrives before each response to a configuration.
type busySocket struct {
	netlink.Socket
	file     *os.File // where messages arrive
	kernel   *os.File
	verdicts []netlink.Message
}

func newBusySocket(t *testing.T) *busySocket {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &busySocket{file: os.NewFile(uintptr(fds[0]), "queue"), kernel: os.NewFile(uintptr(fds[1]), "kernel")}
	t.Cleanup(func() { _, _ = s.file.Close(), s.kernel.Close() })
	return s
}

func (s *busySocket) SyscallConn() (syscall.RawConn, error) { return s.file.SyscallConn() }

func (s *busySocket) Send(m netlink.Message) error {
	if m.Header.Type == unix.NFNL_SUBSYS_QUEUE<<8|msgVerdict {
		s.verdicts = append(s.verdicts, m)
		return nil
	}
	header, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: attrHeader, Data: []byte{0, 0, 0, 9, 8, 0, 2}}})
	if err != nil {
		return err
	}
	for _, to := range []netlink.Message{
		{Header: netlink.Header{Type: unix.NFNL_SUBSYS_QUEUE<<8 | msgPacket}, Data: append([]byte{2, 0, 4, 1},
			header...)},
		{Header: netlink.Header{Type: netlink.Error, Sequence: m.Header.Sequence}, Data: make([]byte, 20)},
	} {
		to.Header.Length = uint32(unix.NLMSG_HDRLEN + len(to.Data))
		data, err := to.MarshalBinary()
		if err != nil {
			return err
		}
		if _, err := s.kernel.Write(data); err != nil {
			return err
		}
	}
	return nil
}

func TestBindDropsPacketsThatArriveMeanwhile(t *testing.T) {
	s := newBusySocket(t)
	q := &Queues{netlink.NewConn(s, 1)}
	if err := q.bind(Config{Number: 1025, Length: 100, Max: 10}); err != nil {
		t.Fatal(err)
	}
	if len(s.verdicts) != 2 {
		t.Fatalf("%d verdicts, want 2", len(s.verdicts))
	}
	want := []byte{0, 0, 4, 1, 12, 0, attrVerdict, 0, 0, 0, 0, 0, 0, 0, 0, 9} // Drop, for packet 9
	if got := s.verdicts[0].Data; string(got) != string(want) {
		t.Errorf("got verdict %v, want %v", got, want)
	}
}

// TestHeldPackets checks that a packet without a verdict gets it with that of a later one, before it.
func TestHeldPackets(t *testing.T) {
	s := newBusySocket(t)
	q := &Queues{netlink.NewConn(s, 1)}
	for _, err := range []error{q.answer(Packet{Queue: 1025, ID: 7}, Verdict{Code: Hold}),
		q.answer(Packet{Queue: 1025, ID: 8}, Verdict{Code: Repeat, Mark: 5, Also: []Held{{ID: 7, Code: Repeat, Mark: 5},
			{ID: 3, Code: Drop}}})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(s.verdicts) != 3 {
		t.Fatalf("%d verdicts, want 3", len(s.verdicts))
	}
	mark := []byte{8, 0, attrMark, 0, 0, 0, 0, 5}
	for i, want := range [][]byte{append([]byte{0, 0, 4, 1, 12, 0, attrVerdict, 0, 0, 0, 0, byte(Repeat), 0, 0, 0, 7},
		mark...),
		{0, 0, 4, 1, 12, 0, attrVerdict, 0, 0, 0, 0, 0, 0, 0, 0, 3},
		append([]byte{0, 0, 4, 1, 12, 0, attrVerdict, 0, 0, 0, 0, byte(Repeat), 0, 0, 0, 8}, mark...)} {
		if got := s.verdicts[i].Data; string(got) != string(want) {
			t.Errorf("verdict %d: got %v, want %v", i, got, want)
		}
	}
}
