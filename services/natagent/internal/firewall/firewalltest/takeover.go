package firewalltest

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
)

// takeovers is the number of times that Takeover replaces the rules.
const takeovers = 3

// Takeover checks that Sync replaces the rules of an earlier version without an effect on traffic:
// new connections to a published port succeed all the time, and packets to another port never
// arrive. install writes the rules of the earlier version for State.
func Takeover(t *testing.T, install func(host *testns.NS), open Open) {
	tp := NewTopology(t)
	t.Run("unfiltered", func(t *testing.T) { // proves that the leak can be seen
		check(t, tp, Case{From: "ext", Network: "udp", To: leaking, Want: "a sees 10.1.0.2"})
	})

	for range takeovers {
		install(tp.Host)
		fw := open(t, tp.HostNS())
		w := startTraffic(t, tp)
		w.awaitRounds(20)
		change, err := fw.Sync(context.Background(), State())
		if err != nil || !change.Rebuilt || len(change.Removed) != 0 {
			t.Errorf("Sync: got %+v, %v, want Rebuilt", change, err)
		}
		w.awaitRounds(20)
		w.stop()
		if change, err := fw.Sync(context.Background(), State()); err != nil || change.Rebuilt || change.Added != 0 {
			t.Errorf("second Sync: got %+v, %v, want nothing", change, err)
		}
		if err := fw.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Run("afterwards", func(t *testing.T) { all(t, tp) })
}

// leaking is a port of a container that is not published.
const leaking = "10.10.1.2:80"

// traffic is traffic during a takeover.
type traffic struct {
	t       *testing.T
	rounds  atomic.Int64
	quit    chan struct{}
	done    chan struct{}
	leaks   net.Conn
	reading chan struct{}
}

func startTraffic(t *testing.T, tp *Topology) *traffic {
	t.Helper()
	w := &traffic{t: t, quit: make(chan struct{}), done: make(chan struct{}), reading: make(chan struct{})}
	var err error
	if w.leaks, err = tp.dial(Case{From: "ext", Network: "udp", To: leaking}, answerWithin); err != nil {
		t.Fatal(err)
	}
	go w.send(tp)
	go w.receive()
	return w
}

// send connects to a published port and sends a packet to another one, until stop.
func (w *traffic) send(tp *Topology) {
	defer close(w.done)
	for {
		select {
		case <-w.quit:
			return
		default:
		}
		_, _ = w.leaks.Write([]byte("leak"))
		if got := tp.Try(Cases()[0], answerWithin); got != Cases()[0].Want {
			w.t.Errorf("connection during the takeover: got %s, want %s", got, Cases()[0].Want)
			return
		}
		w.rounds.Add(1)
	}
}

// receive fails the test if a response arrives.
func (w *traffic) receive() {
	defer close(w.reading)
	for {
		n, err := w.leaks.Read(make([]byte, 64))
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if n > 0 {
			w.t.Error("a packet passed to a port that is not published")
			return
		}
	}
}

// awaitRounds waits for more connections.
func (w *traffic) awaitRounds(n int64) {
	for until := w.rounds.Load() + n; w.rounds.Load() < until; time.Sleep(time.Millisecond) {
		select {
		case <-w.done:
			return // failed
		default:
		}
	}
}

func (w *traffic) stop() {
	close(w.quit)
	<-w.done
	_ = w.leaks.SetReadDeadline(time.Now().Add(blockedWithin))
	<-w.reading
	_ = w.leaks.Close()
}
