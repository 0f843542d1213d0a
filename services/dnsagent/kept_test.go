package dnsagent_test

import (
	"net"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/dnsagent"
)

// outside starts a name server at port 53 of an address, and returns its number of queries.
func outside(t *testing.T, address string) *atomic.Int64 {
	t.Helper()
	testns.NeedRoot(t) // for the port
	l, err := net.ListenPacket("udp4", address+":53")
	if err != nil {
		t.Fatal(err)
	}

	var asked atomic.Int64
	server := &dns.Server{PacketConn: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		asked.Add(1)
		out := new(dns.Msg).SetReply(q)
		out.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA,
			Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(1, 2, 3, 4)}}
		_ = w.WriteMsg(out)
	})}
	ended := make(chan error, 1)
	go func() { ended <- server.ActivateAndServe() }()
	t.Cleanup(func() { _ = l.Close(); <-ended })
	return &asked
}

func TestContainersShareCache(t *testing.T) {
	asked := outside(t, "127.9.0.55")
	m := newMachine(t)
	k := m.keeper(t)
	m.write("host/etc/resolv.conf", "nameserver 127.9.0.55\n")
	cfg := m.config()
	svc, err := dnsagent.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}

	client, disconnect := connect(t, svc)
	defer func() {
		disconnect()
		_ = svc.Close()
	}()

	web, db := id.New(), id.New()
	register(t, client, onNetworks(web, "front 10.1.0.2 web"))
	register(t, client, onNetworks(db, "back 10.2.0.2 db"))
	both := func(want int64) {
		t.Helper()
		for _, owner := range []string{web, db} {
			if got := k.ask("udp", owner, "example.org"); got != "1.2.3.4" {
				t.Errorf("got %s", got)
			}
		}
		if n := asked.Load(); n != want {
			t.Errorf("got %d upstream queries, want %d", n, want)
		}
	}

	reload := func(noCache bool) {
		t.Helper()
		cfg.NoCache = noCache
		if err := svc.Reload(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}

	both(1)
	reload(false) // clears the cache
	both(2)
	reload(true)
	both(4)
	both(6)
}
