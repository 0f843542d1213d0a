package e2e

import (
	"context"
	"flag"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
)

var update = flag.Bool("update", false, "write the table of who reaches whom anew")

// reachTable is what must come of it, for every backend of the firewall.
const reachTable = "testdata/matrix/reach.txt"

// TestWhoReachesWhom has containers of every kind of network, the host and its neighbour ask containers of every kind of network, at
// every address that they can be asked at, and compares who is answered, and as whom the server sees it, with a table. It is so without
// an agent, too, after that was killed, and with the next one.
//
// That nobody answers proves little by itself. So each such cell needs a witness, see witnesses; one of them is the same question without
// any firewall, to which all of what only the firewall keeps out must be answered.
func TestWhoReachesWhom(t *testing.T) {
	testns.NeedRoot(t)
	needPrograms(t, "crun", "conmon", "nft", "iptables", "conntrack", "apt-get")
	e := fixture{bin: build(t), images: images(t)}
	text, err := os.ReadFile(reachTable)
	if err != nil && !*update {
		t.Fatal(err)
	}
	t.Run("backends", func(t *testing.T) {
		for _, backend := range []string{"nftables", "iptables"} {
			t.Run(backend, func(t *testing.T) {
				t.Parallel()
				e.whoReachesWhom(t, backend, parseTable(string(text)))
			})
		}
	})
}

func (e fixture) whoReachesWhom(t *testing.T, backend string, want table) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	m := e.newMatrix(t, ctx, backend)
	m.start(t)
	got := m.ask(t, everything(want))
	if *update {
		if err := os.WriteFile(reachTable, []byte(got.print()), 0o644); err != nil {
			t.Fatal(err)
		}
		want = parseTable(got.print())
	}
	compare(t, want, got)
	if err := m.agent.Stop(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	t.Log("the same without an agent, and with the next one")
	compare(t, want, m.ask(t, everything(want)))
	if err := m.agent.Start(m.ctx); err != nil {
		t.Fatal(err)
	}
	compare(t, want, m.ask(t, everything(want)))
	m.dropFirewall(t)
	m.checkControls(t, want, m.ask(t, want.behindFirewall()))
}
