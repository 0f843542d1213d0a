package servers

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/nfqueue"
	"github.com/fairlead/fairlead/services/natagent/internal/refusals"
	"github.com/fairlead/fairlead/services/natagent/internal/servername"
)

// slowFlows deletes no entry before it may.
type slowFlows chan struct{}

func (s slowFlows) DeleteTCP(netip.AddrPort, netip.AddrPort) error {
	<-s
	return nil
}

var serverAddr = netip.MustParseAddrPort("198.51.100.7:443")

// newServers returns Servers with containers a1 and b1.
func newServers(t *testing.T, flows Flows) (*Servers, *refusals.Journal) {
	t.Helper()
	policy, err := egress.Parse([]string{"a.test"})
	if err != nil {
		t.Fatal(err)
	}
	journal, err := refusals.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = journal.Close() })
	s := New(flows, journal, slog.New(slog.DiscardHandler))
	for i, owner := range []string{"a1", "b1"} {
		mac := servername.MAC{5: byte(10 + i)}
		s.Put(&Client{Owner: owner, Policy: policy, MACs: []servername.MAC{mac},
			Addresses: map[netip.Addr]servername.MAC{netip.MustParseAddr(fmt.Sprint("10.9.0.", 10+i)): mac}})
	}
	return s, journal
}

// segment returns the first data of container i, or that of the server, on a connection from a port.
func segment(i, port int, reply bool) nfqueue.Packet {
	data := make([]byte, 40, 44)
	data[0], data[3], data[9], data[32], data[33] = 0x45, 44, 6, 5<<4, 0x18
	client, server := data[12:16], data[16:20]
	clientPort, serverPort := data[20:22], data[22:24]
	p := nfqueue.Packet{Queue: QueueClient, Sender: [6]byte{5: byte(10 + i)}}
	if reply {
		p = nfqueue.Packet{Queue: QueueServer, Sender: [6]byte{5: 99}}
		client, server, clientPort, serverPort = server, client, serverPort, clientPort
	}
	copy(client, []byte{10, 9, 0, byte(10 + i)})
	copy(server, serverAddr.Addr().AsSlice())
	binary.BigEndian.PutUint16(clientPort, uint16(port))
	binary.BigEndian.PutUint16(serverPort, serverAddr.Port())
	p.Data = append(data, "data"...)
	return p
}

func TestClasses(t *testing.T) {
	s, _ := newServers(t, nil)
	unknown, split := segment(2, 1, false), segment(0, 1, false)
	split.Sender = [6]byte{}
	a, b := s.Class(segment(0, 1, false)), s.Class(segment(1, 1, false))
	if a == 0 || b == 0 || a == b || s.Class(segment(0, 2, true)) != a || s.Class(segment(1, 2, true)) != b ||
		s.Class(split) != a || s.Class(unknown) != 0 {
		t.Errorf("classes %d and %d", a, b)
	}
	s.Put(&Client{Owner: "a1", MACs: []servername.MAC{{5: 10}}})
	if got := s.Class(segment(0, 1, false)); got != a {
		t.Errorf("after a change: class %d, want %d", got, a)
	}
	s.Remove("a1")
	s.Remove("b1")
	if len(s.byMAC)+len(s.byAddress)+len(s.byOwner) > 0 {
		t.Error("removed containers are known")
	}
}

// TestRefusalsDoNotWait refuses more connections than may wait for conntrack, which does not respond.
func TestRefusalsDoNotWait(t *testing.T) {
	flows := make(slowFlows)
	s, journal := newServers(t, flows)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() { s.complete(done); close(ended) }()
	const many = 2 * maxWork
	for port := range many {
		v, after := s.Decide(segment(0, port, false))
		if v.Code != nfqueue.Repeat || v.Mark != MarkRefused || after == nil {
			t.Fatalf("port %d: got %+v", port, v)
		}
		after()
	}
	_, after := s.Decide(segment(1, 1, false))
	if after(); s.Refused("a1") != many || s.Refused("b1") != 1 {
		t.Errorf("%d and %d are counted", s.Refused("a1"), s.Refused("b1"))
	}

	close(flows)
	close(done)
	<-ended
	found, lost, _ := journal.Since(time.Time{})
	if n := uint64(len(found)); n < recordRate || n+lost != many+1 {
		t.Errorf("%d records, %d lost, want %d together", n, lost, many+1)
	}
}

// deletedFlows records when entries were deleted, by the port of the client.
type deletedFlows map[uint16]time.Time

func (d deletedFlows) DeleteTCP(client, _ netip.AddrPort) error {
	d[client.Port()] = time.Now()
	return nil
}

// A refused connection stays in conntrack until both ends know: packets of the server would begin one that is not
// checked. If the client has opened another one meanwhile, it stays.
func TestRefusedConnectionsEndLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deleted := deletedFlows{}
		s, _ := newServers(t, deleted)
		done, ended := make(chan struct{}), make(chan struct{})
		began := time.Now()
		go func() { s.complete(done); close(ended) }()
		for port := range 3 {
			_, after := s.Decide(segment(0, port, false))
			after()
		}
		again := segment(0, 1, false)
		again.Data = again.Data[:40]
		again.Data[3], again.Data[33] = 40, 2 // SYN
		if v, _ := s.Decide(again); v.Code != nfqueue.Accept {
			t.Errorf("another connection: got %+v", v)
		}
		time.Sleep(2 * endDelay)
		synctest.Wait()
		if len(deleted) != 2 || deleted[0].Sub(began) != endDelay || deleted[2].Sub(began) != endDelay {
			t.Errorf("deleted after %v", deleted)
		}
		close(done)
		<-ended
	})
}
