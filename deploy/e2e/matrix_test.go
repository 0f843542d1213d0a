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

var update = flag.Bool("update", false, "update the reachability table")

// reachTable is the file with the expected results for all firewall backends.
const reachTable = "testdata/matrix/reach.txt"

// TestReachabilityMatrix connects from containers of each kind of network, from the host and from
// another host to all servers, at all their addresses. It compares the results and the addresses
// that the servers see with a table. The results must be the same after the agent is killed and
// after it is started again.
//
// A missing response alone proves little. So each such cell needs a control; see checkControls.
func TestReachabilityMatrix(t *testing.T) {
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
				e.checkReachability(t, backend, parseTable(string(text)))
			})
		}
	})
}

func (e fixture) checkReachability(t *testing.T, backend string, want table) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	m := e.newMatrix(t, ctx, backend)
	m.start(t)
	got := m.connect(t, everything(want))
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

	t.Log("again without the agent, then with a new one")
	compare(t, want, m.connect(t, everything(want)))
	if err := m.agent.Start(m.ctx); err != nil {
		t.Fatal(err)
	}

	compare(t, want, m.connect(t, everything(want)))
	m.dropFirewall(t)
	m.checkControls(t, want, m.connect(t, want.behindFirewall()))
}
