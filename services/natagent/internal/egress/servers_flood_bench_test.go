package egress_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
)

// silent4 is a public address that drops everything.
const silent4 = "203.0.113.9"

// BenchmarkServerNamesDuringFlood measures checked connections of one container while another one sends as much as
// it can: to be compared with a flood that is not checked.
func BenchmarkServerNamesDuringFlood(b *testing.B) {
	w := newWorld(b)
	data := hello(b, "a.test")
	w.allow("a.test")
	w.host.Run("ip", "route", "add", silent4, "via", web4)
	for _, k := range []struct {
		name, rule string
		flood      func(stop <-chan struct{}) (sent int)
	}{
		{"none", "a.test", func(stop <-chan struct{}) int { <-stop; return 0 }},
		{"unchecked-connections", "a.test/any-name", w.floodConnections},
		{"connections", "a.test", w.floodConnections},
		{"refused-names", "a.test", w.floodNames},
		{"unchecked-requests", "a.test/any-name", w.floodRequest},
		{"requests", "a.test", w.floodRequest},
		{"unchecked-quic", "a.test:443/udp", w.floodQUIC},
		{"quic", "a.test/quic", w.floodQUIC},
	} {
		w.allowOther(k.rule)
		stop, sent := make(chan struct{}), 0
		var flood sync.WaitGroup
		flood.Go(func() { sent = k.flood(stop) })
		b.Run(k.name, func(b *testing.B) {
			var all []time.Duration
			for b.Loop() {
				began := time.Now()
				if got := w.exchange(w.a, web4+":443", data); got != "" {
					b.Fatal(got + "\n" + w.refusals(0))
				}
				all = append(all, time.Since(began))
			}
			slices.Sort(all)
			b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(all[len(all)-1].Microseconds()), "max-µs")
		})
		close(stop)
		flood.Wait()
		b.Logf("%s: %d sent", k.name, sent)
	}
}

// allowOther sets the rules of container b, and resolves the name.
func (w *world) allowOther(rule string) {
	w.t.Helper()
	const other = "00000000000000000000000000000000000000000000000000000000000000b1"
	c := &plan.Container{Owner: other, Name: "flood", Rules: []string{rule}, Endpoints: []plan.Endpoint{{
		NetworkID: networkID, MAC: "02:00:00:00:00:0b", Addresses: []netip.Addr{netip.MustParseAddr("10.9.0.3"),
			netip.MustParseAddr("fd09::3")}}}}
	if err := w.enforcer.Put(context.Background(), c, false); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.enforcer.Learn(context.Background(), other, answer("a.test", []netip.Addr{netip.MustParseAddr(web4),
		netip.MustParseAddr(silent4)},
		time.Hour)); err != nil {
		w.t.Fatal(err)
	}
}

// flood calls send until stop is closed, and returns how often it worked.
func flood(stop <-chan struct{}, send func() bool) (sent int) {
	for {
		select {
		case <-stop:
			return sent
		default:
		}
		if send() {
			sent++
		}
	}
}

// floodConnections sends first packets of connections.
func (w *world) floodConnections(stop <-chan struct{}) int {
	var conn net.PacketConn
	var err error
	w.b.Do(func() { conn, err = net.ListenPacket("ip4:tcp", "10.9.0.3") })
	if err != nil {
		w.t.Error(err)
		return 0
	}
	defer conn.Close()
	source, target := netip.MustParseAddr("10.9.0.3"), netip.MustParseAddr(silent4)
	to, port := &net.IPAddr{IP: target.AsSlice()}, uint16(1024)
	return flood(stop, func() bool {
		if port++; port < 1024 {
			port = 1024
		}
		_, err := conn.WriteTo(synTo443(source, target, port), to)
		return err == nil
	})
}

// synTo443 returns the first packet of a connection to port 443.
func synTo443(source, target netip.Addr, port uint16) []byte {
	tcp := binary.BigEndian.AppendUint16(nil, port)
	tcp = append(tcp, 443>>8, 443&255, 0, 0, 0, 1, 0, 0, 0, 0, 5<<4, 2, 255, 255, 0, 0, 0, 0)
	sum := uint32(6 + len(tcp))
	for _, part := range [][]byte{source.AsSlice(), target.AsSlice(), tcp} {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(tcp[16:], ^uint16(sum))
	return tcp
}

// floodNames makes connections with a name that is not allowed.
func (w *world) floodNames(stop <-chan struct{}) int {
	bad := hello(w.t, "evil.test")
	return flood(stop, func() bool {
		c, err := w.b.Dial("tcp", web4+":443", time.Second)
		if err != nil {
			return false
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Second))
		_, _ = c.Write(bad)
		_, _ = c.Read(make([]byte, 1))
		return true
	})
}

// floodRequest sends a request in small packets.
func (w *world) floodRequest(stop <-chan struct{}) int {
	var c net.Conn
	defer func() {
		if c != nil {
			_ = c.Close()
		}
	}()
	return flood(stop, func() (ok bool) {
		var err error
		if c == nil {
			if c, err = w.b.Dial("tcp", web4+":80", time.Second); err != nil {
				return false
			}
			go func(c net.Conn) { // the server echoes
				for buffer := make([]byte, 1<<16); ; {
					if _, err := c.Read(buffer); err != nil {
						return
					}
				}
			}(c)
			_, err = c.Write([]byte("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000000000\r\n\r\n"))
		} else {
			_ = c.SetWriteDeadline(time.Now().Add(time.Second))
			_, err = c.Write([]byte("x"))
		}
		if err != nil {
			_ = c.Close()
			c = nil
		}
		return err == nil
	})
}

// floodQUIC sends first datagrams of connections, which cannot be decrypted.
func (w *world) floodQUIC(stop <-chan struct{}) int {
	var conn net.PacketConn
	var err error
	w.b.Do(func() { conn, err = net.ListenPacket("udp4", "10.9.0.3:0") })
	if err != nil {
		w.t.Error(err)
		return 0
	}
	defer conn.Close()
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(silent4 + ":443"))
	datagram := make([]byte, 1200)
	_, _ = rand.Read(datagram)
	copy(datagram, []byte{0xc3, 0, 0, 0, 1, 8}) // Initial of version 1, and the length of the connection ID
	copy(datagram[14:], []byte{0, 0, 0x44, 0x9e})
	n := uint64(0)
	return flood(stop, func() bool {
		n++
		binary.BigEndian.PutUint64(datagram[6:], n)
		_, err := conn.WriteTo(datagram, to)
		return err == nil
	})
}
