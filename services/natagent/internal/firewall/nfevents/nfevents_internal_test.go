package nfevents

import (
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// A reader that is too slow learns that it lost transactions, and gets those that come later.
func TestLostTransactionsAreReported(t *testing.T) {
	n := testns.New(t)
	source := New(hostns.At(n.Fd()))
	source.buffer = 64 << 10
	release, lost := make(chan struct{}), make(chan struct{}, 100)
	named := make(chan string, 10000)
	cancel, err := source.Subscribe(func(t Transaction) {
		<-release
		if t.Lost {
			lost <- struct{}{}
			return
		}
		for _, c := range t.Changes {
			named <- c.Table
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cancel)

	n.Run("nft", "table inet mine { set s { type inet_service; }; }")
	n.Run("sh", "-ec", "seq 1 20000 | sed 's/.*/add element inet mine s { & }/' | nft -f -")
	close(release)
	for range 2 { // before and after the socket is opened again
		select {
		case <-lost:
		case <-time.After(time.Minute):
			t.Fatal("no loss reported")
		}
	}
	n.Run("nft", "add table inet later")
	for name := ""; name != "later"; {
		select {
		case name = <-named:
		case <-time.After(time.Minute):
			t.Fatal("no event after the loss")
		}
	}
}
