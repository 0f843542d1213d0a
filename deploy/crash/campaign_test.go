package crash

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/crashpoint"
	"github.com/fairlead/fairlead/deploy/internal/lab"
)

const web = "--name web --network n1 -p 8080:80 --stop-signal KILL busybox httpd -f -p 80 -h /etc"

// verb is a command to interrupt. prepare creates the first state, do changes it, undo restores it.
type verb struct {
	name    string
	prepare []string
	do      string
	undo    []string
}

func verbs() []verb {
	up := []string{"run -d " + web}
	return []verb{
		{"run", nil, "run -d " + web, []string{"rm -f web"}},
		{"create", nil, "create " + web, []string{"rm web"}},
		{"create-fixed", nil, "create --ip 172.28.0.77 " + web, []string{"rm web"}},
		{"start", []string{"create " + web}, "start web", []string{"stop web"}},
		{"stop", up, "stop web", []string{"start web"}},
		{"kill", up, "kill web", []string{"start web"}},
		{"restart", up, "restart web", nil},
		{"rm", []string{"create " + web}, "rm web", []string{"create " + web}},
		{"rm-f", up, "rm -f web", []string{"run -d " + web}},
		{"connect", up, "network connect n2 web", []string{"network disconnect n2 web"}},
		{"disconnect", append(up[:1:1], "network connect n2 web"), "network disconnect n2 web",
			[]string{"network connect n2 web"}},
		{"disconnect-only", up, "network disconnect n1 web", []string{"network connect n1 web"}},
		{"publish", up, "publish web 8090:80", []string{"unpublish web 8090:80"}},
		{"unpublish", up, "unpublish web 8080:80", []string{"publish web 8080:80"}},
		{"rename", up, "rename web web2", []string{"rename web2 web"}},
		{"network-create", nil, "network create n3", []string{"network rm n3"}},
		{"network-rm", []string{"network create n3"}, "network rm n3", []string{"network create n3"}},
		{"network-update", up, "network update --renumber --subnet 10.77.0.0/24 n1",
			[]string{"network update --renumber --subnet 172.28.0.0/24 n1"}},
	}
}

// fault is an action at a crash point of a process.
type fault struct {
	mode    lab.DeployMode
	verb    verb
	process string
	ordinal int
	action  string
	point   string // the line of the trace
}

func (f fault) String() string {
	process := strings.ReplaceAll(f.process, "/", "_")
	return fmt.Sprintf("%s/%s/%s/%s/%d", f.mode, f.verb.name, process, f.action, f.ordinal)
}

// actions returns the faults that can be injected at a point.
func actions(point string) []string {
	when, rest, _ := strings.Cut(point, " ")
	kind, _, _ := strings.Cut(rest, " ")
	switch {
	case when == "before" && kind == "store":
		return []string{"kill", "stall", "enospc", "eio"}
	case when == "before":
		return []string{"kill", "stall", "eio"}
	case kind == "call":
		return []string{"kill", "eio"}
	}
	return []string{"kill"}
}

// TestCrashPointsRecover interrupts commands at their crash points until the time limit. The seed
// determines the order.
func TestCrashPointsRecover(t *testing.T) {
	p := newPlan(t)
	c := &campaign{t: t, plan: p, began: time.Now(), states: map[string][3]string{}}
	random := rand.New(rand.NewPCG(p.seed, 0))
	modes := []lab.DeployMode{lab.Split, lab.AllInOne}
	if random.IntN(2) == 0 {
		slices.Reverse(modes)
	}

	for i, mode := range modes {
		c.until = p.limit * time.Duration(i+1) / time.Duration(len(modes))
		c.runMode(mode, random)
	}

	t.Logf("%d of %d faults injected, %d reached their point, %d failed; CRASH_SEED=%d",
		c.done, c.possible, c.reached, c.failed, p.seed)
}

type campaign struct {
	t     *testing.T
	plan  plan
	began time.Time
	until time.Duration
	world *world

	states map[string][3]string // by mode and verb: before, after, and after undo

	done, possible, reached, failed int
}

func (c *campaign) over() bool { return c.plan.limit > 0 && time.Since(c.began) > c.until }

// batch is the number of faults of a verb before the next verb has its turn.
const batch = 4

// runMode injects the faults of one deployment mode, some of each verb in turn.
func (c *campaign) runMode(mode lab.DeployMode, random *rand.Rand) {
	c.world = newWorld(c.t, c.plan, mode)
	defer func() { c.world.close() }()
	left := map[string][]fault{}
	turns := verbs()
	random.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
	for ; len(turns) > 0; turns = turns[1:] {
		v := turns[0]
		if !c.plan.selects(v) {
			continue // tracing the verb takes time
		}
		all, known := left[v.name]
		if !known {
			all = c.faults(mode, v)
			all = slices.DeleteFunc(all, func(f fault) bool { return !c.plan.only.MatchString(f.String()) })
			c.possible += len(all)
			random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		}
		some := all[:min(batch, len(all))]
		for _, f := range some {
			if c.over() {
				return
			}
			c.one(f, c.done%8 == 7)
		}
		if left[v.name] = all[len(some):]; len(left[v.name]) > 0 {
			turns = append(turns, v)
		}
	}
}

// faults traces a run of a verb and returns the faults at the points that it passes.
func (c *campaign) faults(mode lab.DeployMode, v verb) []fault {
	w := c.world
	c.prepare(v)
	before := c.state()
	passed := w.traced(func() { w.mustRun(v.do) })
	w.must(w.agree())
	after := c.state()
	for _, line := range v.undo {
		w.mustRun(line)
	}

	w.must(w.agree())
	c.states[string(mode)+v.name] = [3]string{before, after, c.state()}
	var all []fault
	for process, points := range passed {
		for i, point := range points {
			for _, action := range actions(point) {
				all = append(all, fault{mode, v, process, i + 1, action, strings.TrimSpace(point)})
			}
		}
	}

	slices.SortFunc(all, func(a, b fault) int { return strings.Compare(a.String(), b.String()) })
	return all
}

// prepare creates the state that a verb starts from.
func (c *campaign) prepare(v verb) {
	w := c.world
	_, _ = w.run("rm -f web")
	_, _ = w.run("rm -f web2")
	_, _ = w.run("network rm n3")
	for _, line := range v.prepare {
		w.mustRun(line)
	}
}

// state returns the containers and networks as text, without the bystander.
func (c *campaign) state() string {
	r, err := c.world.peers.read(c.world.ctx)
	if err != nil {
		return err.Error()
	}

	var all []string
	for _, n := range r.networks {
		all = append(all, "network "+n.GetName())
	}

	for _, k := range r.containers {
		if k.GetConfig().GetName() == bystander {
			continue
		}
		text := k.GetConfig().GetName() + " " + strings.TrimPrefix(k.GetStatus().String(), "CONTAINER_STATUS_")
		for _, a := range k.GetConfig().GetNetwork().GetNetworks() {
			text += " on " + a.GetNetwork()
		}
		for _, b := range k.GetBindings() {
			text += fmt.Sprint(" ", b.GetHostIp(), ":", b.GetHostPort())
		}
		all = append(all, text)
	}

	slices.Sort(all)
	return strings.Join(all, "; ")
}

// one injects a fault and checks the result. A failure replaces the world.
func (c *campaign) one(f fault, restart bool) {
	c.done++
	began := time.Now()
	reached := c.reached
	problem := c.try(f, restart)
	if problem == "" {
		c.t.Logf("fault %s, reached %v, %s: ok", f, c.reached > reached, time.Since(began).Round(time.Millisecond))
		return
	}
	c.failed++
	c.t.Errorf("FAULT %s at %s after %s: %s\n%s", f, f.point, time.Since(began), problem, tail(c.world.agent.Log()))
	c.world.close()
	c.world = newWorld(c.t, c.plan, f.mode)
}

func (c *campaign) try(f fault, restart bool) string {
	w := c.world
	c.prepare(f.verb)
	w.arm(f.process, f.action, f.ordinal)
	out, err := w.run(f.verb.do)
	hit := w.disarm(f.process)
	if hit != "" {
		c.reached++
	}

	if strings.HasPrefix(hit, "kill") {
		if err := w.revive(f.process); err != nil {
			return fmt.Sprintf("agent does not start again: %v", err)
		}
	}

	if strings.HasPrefix(hit, "stall") {
		time.Sleep(crashpoint.Stall) // it may have begun in the background, just now
	}

	where := fmt.Sprintf("hit %q, command: %v %s\n", hit, err, out)
	if err := w.agree(); err != nil {
		return where + err.Error()
	}

	states := c.states[string(f.mode)+f.verb.name]
	now := c.await(states)
	switch {
	case now != states[0] && now != states[1]:
		return where + fmt.Sprintf("state is neither the one before nor the one after:\n%s\nbefore %s\nafter  %s",
			now, states[0], states[1])
	case err == nil && now != states[1]:
		return where + "command succeeded without effect: " + now
	case err != nil && now != states[0] && !strings.Contains(out, "connection") &&
		!strings.HasPrefix(hit, "kill") && exact(f.verb):
		return where + "command failed with an effect: " + now
	}

	if restart {
		if err := w.agent.Stop(syscall.SIGTERM); err != nil {
			return where + err.Error()
		}
		if err := w.agent.Start(w.ctx); err != nil {
			return where + err.Error()
		}
		if err := w.agree(); err != nil {
			return where + "after a restart: " + err.Error()
		}
	}

	return c.retry(f, states, where)
}

// await waits until the state is that before or after a command, and returns the state. The agent
// completes some commands in the background.
func (c *campaign) await(states [3]string) string {
	for deadline := time.Now().Add(agreeLimit); ; time.Sleep(100 * time.Millisecond) {
		now := c.state()
		if now == states[0] || now == states[1] || time.Now().After(deadline) {
			return now
		}
	}
}

// exact reports whether a failed verb must not have any effect.
func exact(v verb) bool {
	names := []string{"connect", "publish", "unpublish", "rename", "create", "run", "network-create"}
	return slices.Contains(names, v.name)
}

// retry repeats the command, which can fail if it took effect before, and then undoes it.
func (c *campaign) retry(f fault, states [3]string, where string) string {
	w := c.world
	done := c.state() == states[1]
	out, err := w.run(f.verb.do)
	if err != nil && !done {
		return where + fmt.Sprintf("repeated command failed: %v %s", err, out)
	}

	if now := c.state(); now != states[1] {
		return where + fmt.Sprintf("state after repetition: got %s, want %s (%v %s)", now, states[1], err, out)
	}

	for _, line := range f.verb.undo {
		if out, err := w.run(line); err != nil {
			return where + fmt.Sprintf("undo by %s failed: %v %s", line, err, out)
		}
	}

	if err := w.agree(); err != nil {
		return where + "after repetition and undo: " + err.Error()
	}

	if now := c.state(); now != states[2] {
		return where + fmt.Sprintf("state after undo: got %s, want %s", now, states[2])
	}

	return ""
}
