package nfqueue

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

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
	file   *os.File // where messages arrive
	kernel *os.File
}

func newBusySocket(t *testing.T) *busySocket {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &busySocket{file: os.NewFile(uintptr(fds[0]), "queue"), kernel: os.NewFile(uintptr(fds[1]), "kernel")}
	t.Cleanup(func() { _, _ = s.file.Close(), s.kernel.Close() })
	_ = s.kernel.SetReadDeadline(time.Now().Add(time.Minute))
	return s
}

func (s *busySocket) SyscallConn() (syscall.RawConn, error) { return s.file.SyscallConn() }

func (s *busySocket) SetReadDeadline(t time.Time) error { return s.file.SetReadDeadline(t) }

func (s *busySocket) SetDeadline(t time.Time) error { return s.file.SetDeadline(t) }

func (s *busySocket) SetWriteDeadline(t time.Time) error { return s.file.SetWriteDeadline(t) }

func (s *busySocket) Close() error { return s.file.Close() }

func (s *busySocket) Send(m netlink.Message) error {
	if err := s.queue([6]byte{}, 9); err != nil {
		return err
	}
	return s.write(netlink.Message{Header: netlink.Header{Type: netlink.Error, Sequence: m.Header.Sequence},
		Data: make([]byte, 20)})
}

// queue queues a packet.
func (s *busySocket) queue(sender [6]byte, number uint32) error {
	attrs, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: attrHeader, Data: append(binary.BigEndian.AppendUint32(nil, number), 8, 0, 2)},
		{Type: attrAddress, Data: append(append([]byte{0, 6, 0, 0}, sender[:]...), 0, 0)},
		{Type: attrPayload, Data: binary.BigEndian.AppendUint32(nil, number)}})
	if err != nil {
		return err
	}
	return s.write(netlink.Message{Header: netlink.Header{Type: unix.NFNL_SUBSYS_QUEUE<<8 | msgPacket},
		Data: append([]byte{2, 0, 4, 1}, attrs...)})
}

func (s *busySocket) write(m netlink.Message) error {
	m.Header.Length = uint32(unix.NLMSG_HDRLEN + len(m.Data))
	data, err := m.MarshalBinary()
	if err == nil {
		_, err = s.kernel.Write(data)
	}
	return err
}

// verdicts returns the next n verdicts that the kernel receives: the code and the number of the packet.
func (s *busySocket) verdicts(t *testing.T, n int) (all [][2]uint32) {
	t.Helper()
	for len(all) < n {
		buffer := make([]byte, 1<<16)
		size, err := s.kernel.Read(buffer)
		if err != nil {
			t.Fatalf("%v after verdicts %v", err, all)
		}
		for m := range messages(buffer[:size]) {
			if m.Header.Type != unix.NFNL_SUBSYS_QUEUE<<8|msgVerdict || len(m.Data) < 16 {
				t.Fatalf("got message %+v", m)
			}
			all = append(all, [2]uint32{binary.BigEndian.Uint32(m.Data[8:]), binary.BigEndian.Uint32(m.Data[12:])})
		}
	}
	return all
}

func TestBindDropsPacketsThatArriveMeanwhile(t *testing.T) {
	s := newBusySocket(t)
	q := &Queues{netlink.NewConn(s, 1)}
	if err := q.bind(Config{Number: 1025, Length: 100, Max: 10}); err != nil {
		t.Fatal(err)
	}
	if got := s.verdicts(t, 2); got[0] != [2]uint32{uint32(Drop), 9} || got[1] != got[0] {
		t.Errorf("got verdicts %v", got)
	}
}

// TestHeldPackets checks that a packet without a verdict gets it with that of a later one, before it.
func TestHeldPackets(t *testing.T) {
	got := appendVerdicts(nil, Packet{Queue: 1025, ID: 7}, Verdict{Code: Hold})
	got = appendVerdicts(got, Packet{Queue: 1025, ID: 8}, Verdict{Code: Repeat, Mark: 5,
		Also: []Held{{ID: 7, Code: Repeat, Mark: 5}, {ID: 3, Code: Drop}}})
	mark := []byte{8, 0, attrMark, 0, 0, 0, 0, 5}
	var all [][]byte
	for m := range messages(got) {
		all = append(all, m.Data)
	}
	if len(all) != 3 {
		t.Fatalf("%d verdicts, want 3", len(all))
	}
	for i, want := range [][]byte{append([]byte{0, 0, 4, 1, 12, 0, attrVerdict, 0, 0, 0, 0, byte(Repeat), 0, 0, 0, 7},
		mark...),
		{0, 0, 4, 1, 12, 0, attrVerdict, 0, 0, 0, 0, 0, 0, 0, 0, 3},
		append([]byte{0, 0, 4, 1, 12, 0, attrVerdict, 0, 0, 0, 0, byte(Repeat), 0, 0, 0, 8}, mark...)} {
		if string(all[i]) != string(want) {
			t.Errorf("verdict %d: got %v, want %v", i, all[i], want)
		}
	}
}

// bySender has a class for each sender, and holds the first decision until it may continue.
type bySender struct {
	began, next chan struct{}
	once        sync.Once
	wrong       atomic.Int64 // packets with other data than their own
}

func (b *bySender) Class(p Packet) Class { return Class(p.Sender[5]) }

func (b *bySender) Decide(p Packet) (Verdict, func()) {
	b.once.Do(func() { close(b.began); <-b.next })
	if len(p.Data) != 4 || binary.BigEndian.Uint32(p.Data) != p.ID {
		b.wrong.Add(1)
	}
	return Verdict{Code: Accept}, nil
}

// TestFlood checks that a packet does not wait for all of another sender's that are before it.
func TestFlood(t *testing.T) {
	s := newBusySocket(t)
	q := &Queues{netlink.NewConn(s, 1)}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	b := &bySender{began: make(chan struct{}), next: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- q.Read(ctx, b) }()

	const flood = 100
	for i := range uint32(flood) {
		if err := s.queue([6]byte{5: 1}, i); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			<-b.began
		}
	}
	if err := s.queue([6]byte{5: 2}, flood); err != nil {
		t.Fatal(err)
	}
	close(b.next)
	accepted := s.verdicts(t, flood+1)
	at := slices.Index(accepted, [2]uint32{uint32(Accept), flood})
	if at < 0 || at > flood/2 {
		t.Errorf("the other sender's packet is number %d of %d", at, flood+1)
	}
	if n := b.wrong.Load(); n > 0 {
		t.Errorf("%d packets have the data of another one", n)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
