package egress_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	rules "github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
)

// limit sets limits without rules.
func (w *world) limit(l rules.Limits) {
	w.t.Helper()
	if err := w.enforcer.Put(context.Background(), &plan.Container{Owner: owner, Name: "box", Limits: l,
		Endpoints: []plan.Endpoint{w.endpoint}}, false); err != nil {
		w.t.Fatal(err)
	}
}

// TestConnectionsAreLimited opens connections in both directions, which count together.
func TestConnectionsAreLimited(t *testing.T) {
	w := newWorld(t)
	w.limit(rules.Limits{Connections: 5})
	var open []net.Conn
	dial := func(from interface {
		Dial(network, address string, timeout time.Duration) (net.Conn, error)
	}, to string) bool {
		c, err := from.Dial("tcp", to, 20*time.Second)
		if err != nil {
			if !errors.Is(err, unix.ECONNREFUSED) {
				t.Errorf("the client does not know that the connection to %s is refused: %v", to, err)
			}
			return false
		}
		t.Cleanup(func() { _ = c.Close() })
		open = append(open, c)
		return true
	}
	for i := range 3 {
		if !dial(w.a, web4+":80") {
			t.Fatalf("connection %d: refused", i+1)
		}
	}
	if !dial(w.b, "10.9.0.2:80") || !dial(w.host, "10.9.0.2:443") {
		t.Fatal("an incoming connection was refused below the limit")
	}
	if dial(w.a, web4+":443") || dial(w.b, "10.9.0.2:80") || dial(w.a, "["+web6+"]:80") {
		t.Error("a connection above the limit passed")
	}
	if got := w.refusals(3); strings.Count(got, "box connections tcp") < 3 || !strings.Contains(got, " in\n") {
		t.Errorf("got refusals\n%s", got)
	}

	// Another process and another policy know the connections that are open.
	w.start()
	if dial(w.a, web4+":443") {
		t.Error("a connection above the limit passed after a restart")
	}
	limits := rules.Limits{Connections: 5, Packets: rules.Packets{Out: 1 << 20}}
	if err := w.enforcer.Put(context.Background(), &plan.Container{Owner: owner, Name: "box", Limits: limits,
		Rules: []string{"internet"}, Endpoints: []plan.Endpoint{w.endpoint}}, false); err != nil {
		t.Fatal(err)
	}
	if dial(w.a, web4+":443") {
		t.Error("a connection above the limit passed after a change of the rules")
	}
	if w.enforcer.Refused(owner) < 2 {
		t.Error("refused packets are not counted")
	}

	// Changes of other programs are undone.
	w.stop()
	w.host.Run("nft", "delete", "table", "inet", "fairlead-limits")
	w.start()
	w.host.Run("sh", "-c", "nft list table inet fairlead-limits | grep -q 'ct count over 5'")
	w.limit(rules.Limits{Connections: 2})
	for i := range 2 {
		if !dial(w.a, web4+":443") {
			t.Fatalf("connection %d of another limit: refused", i+1)
		}
	}
	if dial(w.a, web4+":443") {
		t.Error("a connection above another limit passed")
	}

	for _, c := range open {
		_ = c.Close()
	}
	for end := time.Now().Add(time.Minute); !dial(w.a, web4+":443"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no connection passes after one has ended")
		}
	}
	w.limit(rules.Limits{})
	for range 4 {
		if !dial(w.a, web4+":443") {
			t.Error("the limit is not lifted")
		}
	}
	w.host.Run("sh", "-c", "! nft list tables | grep fairlead-limits")
	if err := w.enforcer.Sync(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestPacketsAreLimited floods in both directions.
func TestPacketsAreLimited(t *testing.T) {
	w := newWorld(t)
	const rate = 2000
	w.limit(rules.Limits{Packets: rules.Packets{In: rate, Out: rate}})
	if err := w.enforcer.Sync(context.Background()); err != nil { // compares
		t.Error(err)
	}
	for name, c := range map[string]struct {
		from interface {
			Dial(network, address string, timeout time.Duration) (net.Conn, error)
		}
		to string
		at *net.UDPConn
	}{"out": {w.a, web4 + ":9", listen(t, w.web.Do)}, "in": {w.b, "10.9.0.2:9", listen(t, w.a.Do)}} {
		received := make(chan int)
		var last time.Time
		go func() {
			n := 0
			for b := make([]byte, 10); ; n++ {
				if _, err := c.at.Read(b); err != nil {
					received <- n
					return
				}
				last = time.Now()
			}
		}()
		conn, err := c.from.Dial("udp", c.to, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for time.Since(began) < time.Second/2 {
			_, _ = conn.Write([]byte("x"))
		}
		sent := time.Now()
		_ = c.at.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		n := <-received
		_ = conn.Close()
		if last.Before(sent) { // packets can wait on a busy machine
			last = sent
		}
		took := last.Sub(began)
		if most := int(rate*1.05*took.Seconds()) + rate/20 + 1; n > most || n == 0 {
			t.Errorf("%s: got %d packets in %v, want at most %d", name, n, took, most)
		}
		t.Logf("%s: %d packets in %v: %.0f in a second", name, n, took, float64(n)/took.Seconds())
	}
}

// TestEndpointsAreLimited limits one endpoint: its connections, and the bytes that it sends, as a container can remove
// the limit of bandwidth in its namespace.
func TestEndpointsAreLimited(t *testing.T) {
	w := newWorld(t)
	const rate = 100_000
	limited, other := w.endpoint, plan.Endpoint{NetworkID: strings.Repeat("e", 64), MAC: "02:00:00:00:00:77"}
	limited.Limits, limited.BytesOut = rules.Limits{Connections: 2}, rate
	if err := w.enforcer.Put(context.Background(), &plan.Container{Owner: owner, Name: "box",
		Endpoints: []plan.Endpoint{limited, other}}, false); err != nil {
		t.Fatal(err)
	}
	if err := w.enforcer.Sync(context.Background()); err != nil { // compares
		t.Error(err)
	}
	for i := range 3 {
		c, err := w.a.Dial("tcp", web4+":80", 20*time.Second)
		if (err == nil) != (i < 2) {
			t.Errorf("connection %d: got %v", i+1, err)
		}
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
		}
	}
	limited.Limits = rules.Limits{} // the flow below is a connection too
	if err := w.enforcer.Put(context.Background(), &plan.Container{Owner: owner, Name: "box",
		Endpoints: []plan.Endpoint{limited, other}}, false); err != nil {
		t.Fatal(err)
	}

	at := listen(t, w.web.Do)
	conn, err := w.a.Dial("udp", web4+":9", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	const size = 1000
	received := make(chan int)
	var last time.Time
	go func() {
		n := 0
		for b := make([]byte, size); ; n++ {
			if _, err := at.Read(b); err != nil {
				received <- n
				return
			}
			last = time.Now()
		}
	}()
	began := time.Now()
	for range 1000 { // ten times what passes in a second
		_, _ = conn.Write(make([]byte, size))
	}
	sent := time.Since(began)
	_ = at.SetReadDeadline(time.Now().Add(time.Second))
	n := <-received
	took := max(sent, last.Sub(began)) // packets can wait on a busy machine
	if most := int(rate * (1 + took.Seconds())); n*size > most || n == 0 {
		t.Errorf("got %d bytes in %v, want at most %d", n*size, took, most)
	}
}

// listen returns a socket of a namespace with a large buffer.
func listen(t *testing.T, in func(func())) (c *net.UDPConn) {
	t.Helper()
	var err error
	in(func() { c, err = net.ListenUDP("udp", &net.UDPAddr{Port: 9}) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}
