package tables

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// A copy that a process left can be all that is in force: the next one replaces it in one transaction, with its hooks.
func TestRebuildReplacesACopyInOneTransaction(t *testing.T) {
	host := testns.New(t)
	k := New(hostns.At(host.Fd()))
	if err := k.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	all := []*plan.Plan{plan.New(&plan.Container{Owner: strings.Repeat("a", 64), Rules: []string{"none"}},
		map[string][]byte{"\x02\x00\x00\x00\x00\x0a": {2, 0, 0, 0, 0, 1}})}
	learned := func(string) map[answered.Open]time.Duration { return nil }
	peers := func(string) []netip.Prefix { return nil }

	// rebuild returns the number of transactions.
	rebuild := func() uint32 {
		t.Helper()
		before, err := k.conn.GetGen()
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Rebuild(all, learned, peers); err != nil {
			t.Fatal(err)
		}
		after, err := k.conn.GetGen()
		if err != nil {
			t.Fatal(err)
		}
		return after.ID - before.ID
	}
	_ = rebuild() // the first one has no copy
	usual := rebuild()

	k.name = rules.CopyName
	err := k.write(all, learned, peers, func() error { return nil })
	k.name = rules.TableName
	if err != nil {
		t.Fatal(err)
	}
	if n := rebuild(); n != usual-1 {
		t.Errorf("%d transactions with a copy, %d without: want one less", n, usual)
	}
	host.Run("sh", "-c", "nft list tables | grep -q "+rules.TableName+" && ! nft list tables | grep "+rules.CopyName)
}
