package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// Environment variables of the command restart-storm; `make stormtest` sets them.
const (
	stormContainersVar = "FAIRLEAD_STORM_CONTAINERS"
	stormKillsVar      = "FAIRLEAD_STORM_KILLS"
)

// stormScript appends to a file in its volume at each start. It fails after a while, and sleeps as soon
// as the file calm exists.
const stormScript = `echo run >>/data/runs; echo >/anonymous/file; n=0
while test $n -lt $LIVES && ! test -e /data/calm; do sleep 0.1; n=$((n+1)); done
test -e /data/calm && exec sleep 100000; exit 7`

// restartStorm is the command restart-storm CONTAINERS KILLS. It runs containers with --restart always
// and volumes whose processes exit again and again, and kills the agent, starts it and kills containers
// meanwhile. Some containers are stopped and some removed in the middle. In the end the kernel must have
// exactly one process, monitor, interface, mount and namespace for each container that is to run, and
// the volumes their content.
func restartStorm(ts *testscript.TestScript, _ bool, args []string) {
	number := func(text, variable string) int {
		if given := os.Getenv(variable); given != "" {
			text = given
		}
		n, err := strconv.Atoi(text)
		must(ts, err)
		return n
	}
	count, kills := number(args[0], stormContainersVar), number(args[1], stormKillsVar)
	st := &storm{scriptEnv: of(ts), log: ts.Logf, state: map[string]string{}}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	must(ts, st.begin(ctx, count))
	must(ts, st.rage(ctx, kills))
	must(ts, st.calm(ctx))
	must(ts, st.clear(ctx))
}

// storm is the state of a restart storm.
type storm struct {
	*scriptEnv
	log   func(format string, args ...any)
	names []string
	state map[string]string // by name: its ID if the container is to run, else "stopped" or "removed"
}

// begin starts the containers, a few concurrently.
func (st *storm) begin(ctx context.Context, count int) error {
	for i := range count {
		st.names = append(st.names, fmt.Sprint("storm", i))
	}
	var mu sync.Mutex
	return st.each(st.names, func(name string) error {
		out, err := st.agent.CLI(ctx, "run", "-d", "--name", name, "--restart", "always", "-v", name+":/data",
			"-v", "/anonymous", "-e", fmt.Sprint("LIVES=", 1+rand.IntN(40)), "busybox", "sh", "-c", stormScript)
		mu.Lock()
		st.state[name] = strings.TrimSpace(out)
		mu.Unlock()
		return err
	})
}

// each calls do for all names, four concurrently.
func (st *storm) each(names []string, do func(name string) error) error {
	var all sync.WaitGroup
	errs := make([]error, 4)
	for worker := range errs {
		all.Go(func() {
			for i := worker; i < len(names); i += len(errs) {
				errs[worker] = errors.Join(errs[worker], do(names[i]))
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// rage kills the agent again and again. Between two kills it kills containers, and stops and removes some.
func (st *storm) rage(ctx context.Context, kills int) error {
	doubled := make(chan error, 1)
	end := make(chan struct{})
	go func() { doubled <- st.watch(end) }()
	for i := range kills {
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Millisecond)
		if err := st.agent.Stop(syscall.SIGKILL); err != nil {
			return err
		}
		if err := st.killSome(ctx); err != nil {
			return err
		}
		start := time.Now()
		if err := st.agent.Start(ctx); err != nil {
			return err
		}
		st.log("kill %d, the agent serves after %s", i+1, time.Since(start))
		if err := st.change(ctx, i, kills); err != nil {
			return err
		}
	}
	close(end)
	return <-doubled
}

// killSome kills a tenth of the containers' processes, and some monitors.
func (st *storm) killSome(ctx context.Context) error {
	args := []string{"-KILL"}
	for _, p := range st.Processes() {
		if p.Name == "sh" && rand.IntN(10) == 0 || p.Name == "conmon" && rand.IntN(50) == 0 {
			args = append(args, itoa(p.Pid))
		}
	}
	if len(args) > 1 {
		_, _ = st.Host.Output(ctx, "kill", args...) // some have exited
	}
	return nil
}

// change stops a part of every tenth container and removes a part of every other tenth.
func (st *storm) change(ctx context.Context, round, rounds int) error {
	var stopped, removed []string
	for i, name := range st.names {
		switch {
		case i/10%rounds != round:
		case i%10 == 3:
			stopped = append(stopped, name)
		case i%10 == 7:
			removed = append(removed, name)
		}
	}

	for _, c := range []struct {
		names []string
		state string
		args  []string
	}{{stopped, "stopped", []string{"stop", "-t", "0"}}, {removed, "removed", []string{"rm", "-f", "-v"}}} {
		if len(c.names) == 0 {
			continue
		}
		if _, err := st.agent.CLI(ctx, append(c.args, c.names...)...); err != nil {
			return err
		}
		for _, name := range c.names {
			st.state[name] = c.state
		}
	}
	return nil
}

// watch returns an error as soon as the processes of one container are in two PID namespaces.
func (st *storm) watch(end <-chan struct{}) error {
	for {
		for id, namespaces := range st.namespaces() {
			if len(namespaces) > 1 {
				return fmt.Errorf("container %s runs twice: %v", id, namespaces)
			}
		}
		select {
		case <-end:
			return nil
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// namespaces returns the PID namespaces of the processes of each container.
func (st *storm) namespaces() map[string][]string {
	found := map[string][]string{}
	own, _ := os.Readlink(st.Root("/proc/1/ns/pid"))
	for _, p := range st.Processes() {
		dir := st.Root(fmt.Sprint("/proc/", p.Pid))
		groups, err := os.ReadFile(dir + "/cgroup")
		id := container.FindString(string(groups))
		space, unreadable := os.Readlink(dir + "/ns/pid") // unreadable for a zombie
		if err != nil || unreadable != nil || id == "" || space == own || slices.Contains(found[id], space) {
			continue
		}
		found[id] = append(found[id], space)
	}
	return found
}

// calm lets the containers that are to run sleep, waits until they all do, and counts.
func (st *storm) calm(ctx context.Context) error {
	for _, name := range st.names {
		if err := os.WriteFile(filepath.Join(st.volume(name), "calm"), nil, 0o644); err != nil {
			return err
		}
	}

	var wrong []string
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if wrong = st.compare(ctx); len(wrong) == 0 {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after the storm:\n  %s", strings.Join(wrong, "\n  "))
		}
	}

	time.Sleep(time.Second) // a second process would start in this time
	if wrong = st.compare(ctx); len(wrong) > 0 {
		return fmt.Errorf("a second after the storm:\n  %s", strings.Join(wrong, "\n  "))
	}
	return st.checkVolumes()
}

// volume returns the directory of a volume.
func (st *storm) volume(name string) string {
	return filepath.Join(st.agent.DataRoot(), "volumes", name, "_data")
}

// compare returns how the kernel and the agent differ from the containers that are to run.
func (st *storm) compare(ctx context.Context) []string {
	var wrong []string
	running := st.running()
	namespaces := st.namespaces()
	for id, name := range running {
		if n := len(namespaces[id]); n != 1 {
			wrong = append(wrong, fmt.Sprintf("%s has %d PID namespaces, want 1", name, n))
		}
	}
	for id := range namespaces {
		if running[id] == "" {
			wrong = append(wrong, "unexpected processes of container "+id)
		}
	}

	for what, n := range st.counts(ctx) {
		if n != len(running) {
			wrong = append(wrong, fmt.Sprintf("%d %s, want %d", n, what, len(running)))
		}
	}
	return wrong
}

// running returns the names of the containers that are to run, by ID.
func (st *storm) running() map[string]string {
	running := map[string]string{}
	for name, state := range st.state {
		if container.MatchString(state) {
			running[state] = name
		}
	}
	return running
}

// counts returns how many objects of each kind exist. Each running container has one of each.
func (st *storm) counts(ctx context.Context) map[string]int {
	all := map[string]int{}
	for _, p := range st.Processes() {
		switch p.Name {
		case "conmon":
			all["monitors"]++
		case "sleep":
			all["processes"]++
		}
	}

	mounts, _ := os.ReadFile(st.Root("/proc/1/mounts"))
	for what, pattern := range map[string]string{"root file systems": ` overlay `, "network namespaces": ` nsfs `} {
		lines := regexp.MustCompile(`(?m)^\S+ `+regexp.QuoteMeta(st.Dir)+`\S*`+pattern).FindAll(mounts, -1)
		all[what] = len(lines)
	}
	links, err := st.Host.Output(ctx, "ip", "-o", "link", "show", "master", "docker0")
	if err == nil {
		all["interfaces"] = strings.Count(links, " master docker0 ") // ip prints errors of its own, too
	}
	listed, err := st.agent.CLI(ctx, "ps", "-q")
	if err == nil {
		all["containers in ps"] = strings.Count(listed, "\n")
	}
	return all
}

// checkVolumes checks that each volume has the output of its container.
func (st *storm) checkVolumes() error {
	var errs []error
	for _, name := range st.names {
		runs, err := os.ReadFile(filepath.Join(st.volume(name), "runs"))
		if err == nil && strings.ReplaceAll(string(runs), "run\n", "") != "" || len(runs) == 0 {
			err = fmt.Errorf("volume %s: got %q", name, runs)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// clear removes everything and checks that the anonymous volumes are gone and the named ones are not.
func (st *storm) clear(ctx context.Context) error {
	var left []string
	for name, state := range st.state {
		if state != "removed" {
			left = append(left, name)
		}
	}
	if _, err := st.agent.CLI(ctx, append([]string{"rm", "-f", "-v"}, left...)...); err != nil {
		return err
	}

	out, err := st.agent.CLI(ctx, "volume", "ls", "-q")
	if err != nil {
		return err
	}
	got, want := strings.Fields(out), slices.Sorted(slices.Values(st.names))
	slices.Sort(got)
	if !slices.Equal(got, want) {
		return fmt.Errorf("got volumes %v, want %v", got, want)
	}
	if err := st.checkVolumes(); err != nil {
		return err
	}
	_, err = st.agent.CLI(ctx, append([]string{"volume", "rm"}, want...)...)
	return errors.Join(err, st.agent.CheckLeftovers(ctx))
}
