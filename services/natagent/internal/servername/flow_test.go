package servername

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestDataQueuedBeforeVerification decides about data of a client that waited in its queue while the answer of
// the server was verified.
func TestDataQueuedBeforeVerification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChecker(t, "a.test")
		verify := func() *link {
			l := open(t, c, clientAddr, tlsAddr)
			l.write(hello(t, "a.test"))
			l.want("answer", Verified, l.reply(serverHello))
			return l
		}
		l := verify()
		l.want("queued data", Accept, l.write("x"))
		v := c.Check(Packet{Data: packet(l.client, l.server, flagACK, "x"), MAC: routerMAC})
		l.want("data of another sender", Refuse, v)

		l = verify()
		time.Sleep(sweepEvery + 1)
		l.want("queued data, after a sweep", Accept, l.write("x"))
		for i := range maxFlows + 1 { // refused connections of another container
			c.ended.put(connection{server: netip.AddrPortFrom(netip.Addr{}, uint16(i))}, true)
		}
		l.want("queued data, during a flood", Accept, l.write("x"))
		time.Sleep(2 * sweepEvery)
		l.want("later data", Refuse, l.write("x"))

		verify()
		l = open(t, c, clientAddr, tlsAddr)
		l.want("data of the next connection", Refuse, l.write(hello(t, "b.test")))
	})
}

func TestSmallSegmentsJoined(t *testing.T) {
	c := newChecker(t, "a.test")
	l := open(t, c, clientAddr, httpAddr)
	data := strings.Repeat(request, 100)
	for i := range data {
		l.want("byte", Accept, l.write(data[i:i+1]))
	}
	for _, f := range c.flows {
		if most := len(data)/maxJoined + 1; len(f.kept) > most || f.keptBytes != len(data) {
			t.Errorf("got %d ranges with %d bytes, want at most %d with %d", len(f.kept), f.keptBytes, most, len(data))
		}
	}
	l.client.seq -= uint32(len(data))
	l.want("the same bytes again", Accept, l.send(flagACK, data))
	l.want("other bytes", Refuse, l.send(flagACK, data[:2000]+"x"))
}

func TestUnansweredConnectionsForgottenSooner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChecker(t, "a.test")
		l := open(t, c, clientAddr, httpAddr)
		waiting := &link{t: t, checker: c, client: l.client, server: open(t, c, clientAddr, tlsAddr).server}
		waiting.client.seq = 1
		waiting.want("SYN", Accept, waiting.send(flagSYN, ""))
		time.Sleep(idleNew + sweepEvery)
		l.want("data", Accept, l.write(request))
		if len(c.flows) != 1 || c.count["box"] != 1 {
			t.Errorf("%d connections are left, want 1", len(c.flows))
		}
	})
}
