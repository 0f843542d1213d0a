package crash

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

// killsShort is the default number of kills. CRASH_KILLS sets it; make crashtest sets 1,000.
const killsShort = 6

// TestKillsLoseNoConnection kills processes of the agent at random moments while commands run and
// clients connect to the bystander. No connection fails, and afterwards all stores and the kernel
// agree. The seed determines commands, victims and pauses: CRASH_SEED repeats a run.
func TestKillsLoseNoConnection(t *testing.T) {
	p := newPlan(t)
	kills := killsShort
	if given := os.Getenv("CRASH_KILLS"); given != "" {
		var err error
		if kills, err = strconv.Atoi(given); err != nil {
			t.Fatal(err)
		}
	}
	for _, mode := range []lab.DeployMode{lab.Split, lab.AllInOne} {
		t.Run(string(mode), func(t *testing.T) { killUnderLoad(t, p, mode, kills/2) })
	}
}

// round is the number of kills between two checks of the stores and the kernel.
const round = 25

func killUnderLoad(t *testing.T, p plan, mode lab.DeployMode, kills int) {
	w := newWorld(t, p, mode)
	defer func() { w.close() }()
	stop, connected := make(chan struct{}), make(chan struct{})
	var opened, lost atomic.Int64
	var first atomic.Value
	go func() {
		defer close(connected)
		w.connectSteadily(stop, &opened, &lost, &first)
	}()

	for done := 0; done < kills && !t.Failed(); done += round {
		w.killRound(t, rand.New(rand.NewPCG(p.seed, uint64(done))), done, min(round, kills-done))
		if lost.Load() > 0 {
			t.Errorf("%d of %d connections lost, the first one: %v", lost.Load(), opened.Load(), first.Load())
		}
		t.Logf("%d kills, %d of %d connections lost", min(done+round, kills), lost.Load(), opened.Load())
	}

	close(stop)
	<-connected
}

// killRound kills processes while random commands run. Then it checks that all agree.
func (w *world) killRound(t *testing.T, random *rand.Rand, done, kills int) {
	stop, commands := make(chan struct{}), make(chan struct{})
	seed := random.Uint64()
	go func() {
		defer close(commands)
		w.commandRandomly(stop, seed)
	}()

	for i := range kills {
		time.Sleep(time.Duration(200+random.IntN(1500)) * time.Millisecond)
		victim := w.processes()[random.IntN(len(w.processes()))]
		if victim == "one" {
			victim = ""
		}
		if err := w.agent.Stop(syscall.SIGKILL, victim); err != nil {
			t.Fatal(err)
		}
		if err := w.agent.Start(w.ctx); err != nil {
			t.Fatalf("agent does not start after kill %d of %q: %v", done+i, victim, err)
		}
	}

	close(stop)
	<-commands
	if err := w.agree(); err != nil {
		t.Errorf("kills %d to %d: %v\n%s", done, done+kills-1, err, tail(w.agent.Log()))
	}
}

// connectSteadily opens a connection to the bystander every 20 ms without waiting for earlier ones.
func (w *world) connectSteadily(stop <-chan struct{}, opened, lost *atomic.Int64, first *atomic.Value) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			opened.Add(1)
			go func() {
				conn, err := w.Client.Dial("tcp", fmt.Sprintf("%s:%d", lab.HostIPv4, 8099), 10*time.Second)
				if err != nil {
					lost.Add(1)
					first.CompareAndSwap(nil, err.Error())
					return
				}
				_ = conn.Close()
			}()
		}
	}
}

// commandRandomly runs random commands sequentially. They can fail.
func (w *world) commandRandomly(stop <-chan struct{}, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	lines := []string{"run -d " + web, "rm -f web", "network connect n2 web", "network disconnect n2 web",
		"publish web 8090:80", "unpublish web 8090:80",
		"rename web web2", "rename web2 web", "restart -t 0 web", "stop web", "start web"}
	for {
		select {
		case <-stop:
			return
		default:
			_, _ = w.run(lines[random.IntN(len(lines))])
		}
	}
}
