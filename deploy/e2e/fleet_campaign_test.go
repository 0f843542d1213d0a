package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

// campaignKills names the number of faults of TestFleetSurvivesRandomFaults, which does not run without it.
const campaignKills = "FAIRLEAD_FLEET_KILLS"

// campaign is a fleet of three managers and a member under random faults.
type campaign struct {
	*fleet
	random   *rand.Rand
	next     int
	running  map[string]int // host by container
	started  int
	refused  map[string]int // starts that failed, by the reason
	kinds    map[string]int // faults
	disturbs []int          // hosts whose traffic faults may stop
}

// TestFleetSurvivesRandomFaults kills agents and stores and cuts hosts off, at random, while containers start and
// stop on all hosts. No address is ever used twice, a ping between hosts that are not cut off loses nothing, and
// nothing is left at the end. make fleettest runs it.
func TestFleetSurvivesRandomFaults(t *testing.T) {
	kills, err := strconv.Atoi(os.Getenv(campaignKills))
	if err != nil || kills < 1 {
		t.Skip("a campaign of minutes; run make fleettest")
	}
	needPrograms(t, "crun", "conmon")
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("FAIRLEAD_FLEET_SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("FAIRLEAD_FLEET_SEED=%d", seed)
	c := &campaign{fleet: newFleet(t, lab.AllInOne, 4), random: rand.New(rand.NewPCG(seed, 0)),
		running: map[string]int{},
		refused: map[string]int{}, kinds: map[string]int{}, disturbs: []int{3, 4}}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	c.ctx = ctx
	c.serveImages()
	c.found()
	c.run(1, "fleet promote two three")
	c.run(1, "network create -d overlay --subnet 10.128.0.0/22 app")
	for n := 1; n <= 4; n++ {
		c.await(n, "network ls -f driver=overlay --format {{.Name}}", "app")
	}
	c.run(2, "run -d --name target --network app busybox sleep 100000")
	c.running["target"] = 2
	c.run(1, "run -d --name pinger --network app busybox ping -i 0.01 "+c.addresses(2, "target", "app")[0])
	c.running["pinger"] = 1

	for i := range kills {
		c.fault()
		c.churn()
		if i%5 == 4 {
			c.checkAddresses()
		}
	}
	c.finish()
	t.Logf("%d faults %v, %d containers started, starts refused: %v", kills, c.kinds, c.started, c.refused)
}

// fault makes one random fault and repairs it after a while.
func (c *campaign) fault() {
	c.t.Helper()
	must := func(err error) {
		if err != nil {
			c.t.Fatal(err)
		}
	}
	pause := time.Duration(c.random.IntN(800)) * time.Millisecond
	n := 1 + c.random.IntN(4)
	switch kind := c.random.IntN(10); {
	case kind < 5:
		c.kinds["agent killed"]++
		must(c.agents[n-1].Stop(syscall.SIGKILL))
		time.Sleep(pause)
		must(c.agents[n-1].Start(c.ctx))
	case kind < 8:
		c.kinds["store killed"]++
		n = 1 + c.random.IntN(3)
		_ = c.hosts[n-1].Kill(c.ctx, "fairlead-store") // its agent starts it again; it may not run yet
	default:
		c.kinds["host cut off"]++
		n = c.disturbs[c.random.IntN(len(c.disturbs))]
		must(c.lan.Cut(c.ctx, fmt.Sprint("port", n)))
		if c.random.IntN(2) == 0 {
			c.start(n) // with an address of its own block, or none
		}
		time.Sleep(5 * pause)
		must(c.lan.Connect(c.ctx, fmt.Sprint("port", n)))
	}
}

// churn starts or removes a container on a random host.
func (c *campaign) churn() {
	c.t.Helper()
	names := []string{}
	for name := range c.running {
		if name != "target" && name != "pinger" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) > 12 || len(names) > 0 && c.random.IntN(3) == 0 {
		name := names[c.random.IntN(len(names))]
		c.run(c.running[name], "rm -f "+name)
		delete(c.running, name)
		return
	}
	c.start(1 + c.random.IntN(4))
}

// start starts a container. While the store is away, a host without a free address cannot.
func (c *campaign) start(n int) {
	c.t.Helper()
	c.next++
	name := fmt.Sprint("c", c.next)
	out, err := c.agents[n-1].CLI(c.ctx, "run", "-d", "--name", name, "--network", "app", "busybox", "sleep", "100000")
	if err == nil {
		c.running[name] = n
		c.started++
		return
	}
	reason := "other"
	for _, known := range []string{"cannot be reached", "is not registered in its fleet", "service fleetagent",
		"and it cannot grow"} {
		if strings.Contains(out, known) {
			reason = known
		}
	}
	if reason == "other" {
		c.t.Errorf("host %d: a start fails: %v\n%s", n, err, out)
	}
	c.refused[reason]++
	if _, err := c.agents[n-1].CLI(c.ctx, "rm", "-f", name); err != nil {
		c.t.Logf("host %d: nothing of %s is left: %v", n, name, err)
	}
}

// checkAddresses compares the addresses of all containers.
func (c *campaign) checkAddresses() {
	c.t.Helper()
	owners := map[string]string{}
	for name, n := range c.running {
		for _, a := range c.addresses(n, name, "app") {
			if other, taken := owners[a]; taken {
				c.t.Errorf("address %s is that of %s on host %d, and of %s", a, name, n, other)
			}
			owners[a] = name
		}
	}
}

// finish checks that all is well after the last fault, and takes everything back.
func (c *campaign) finish() {
	c.t.Helper()
	for n := 1; n <= 4; n++ {
		c.await(n, states, "four=alive\none=alive\nthree=alive\ntwo=alive")
	}
	c.await(1, dataPaths, "four=ok\none=ok\nthree=ok\ntwo=ok")
	c.checkAddresses()
	for name, n := range c.running {
		from := "pinger"
		if n == 1 {
			from = "target"
		}
		c.pings(c.running[from], from, c.addresses(n, name, "app")[0], true)
	}
	c.run(1, "stop -s INT pinger")
	if log := c.run(1, "logs pinger"); !strings.Contains(log, " 0% packet loss") {
		c.t.Errorf("packets between hosts that were not cut off were lost: %s", log[max(0, len(log)-300):])
	}

	for n := 1; n <= 4; n++ {
		if all := strings.Fields(c.run(n, "ps -aq")); len(all) > 0 {
			c.run(n, "rm -f "+strings.Join(all, " "))
		}
	}
	c.run(1, "network rm app")
	for _, n := range []int{4, 3, 2, 1} {
		c.run(n, "fleet leave")
	}
	for n, h := range c.hosts {
		for _, p := range h.Processes() {
			if strings.HasPrefix(p.Name, "fairlead-store") {
				c.t.Errorf("host %d: got process %s left", n+1, p)
			}
		}
		for c.ctx.Err() == nil {
			out, err := h.Host.Output(c.ctx, "ip", "-o", "link")
			if err == nil && !strings.Contains(out, "fairlead-fleet") && !strings.Contains(out, ": br-") {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
}
