package e2e

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

// soakVar is the environment variable with the duration of a soak test; `make policysoak` sets it. Each of the two
// commands policy-soak of a script runs for half of it.
const (
	soakVar    = "FAIRLEAD_SOAK"
	soakPhases = 2
)

// Containers of a soak test.
const (
	soakOne = "one" // uses all kinds of connections
	soakTwo = "two" // allows other names, also for the addresses that soakOne has resolved
	soakWeb = "web" // a server with rules for incoming connections
)

// soakRules are the rules of soakOne; the script has them too.
const soakRules = "soak.test:8080,soak.test:443,soak.test:443/quic,soak.test:80,container:web:8080"

// soak is the state of the command policy-soak.
type soak struct {
	*scriptEnv
	boxes map[string]*lab.Machine // networks of the containers
	web   []string                // addresses of soakWeb
	away  atomic.Int64            // changes when natagent is killed, and when it serves again; odd between them

	mu     sync.Mutex
	counts map[string]int
	faults []string
	seen   map[string]bool // refusals
}

// policySoak is the command policy-soak. It kills agents at random while three containers use what their policies
// allow and try what they do not. The addresses of allowed names change with each answer, and connections last
// longer than their TTL. What is allowed is never refused, and nothing else arrives.
func policySoak(ts *testscript.TestScript, _ bool, _ []string) {
	length, err := time.ParseDuration(os.Getenv(soakVar))
	must(ts, err)
	s := &soak{scriptEnv: of(ts), boxes: map[string]*lab.Machine{}, counts: map[string]int{}, seen: map[string]bool{}}
	ctx, cancel := context.WithTimeout(context.Background(), length/soakPhases)
	defer cancel()
	must(ts, s.findBoxes(ctx))
	must(ts, s.serve(ctx))

	var all sync.WaitGroup
	s.startUses(ctx, &all)
	s.startAttempts(ctx, &all)
	all.Go(func() { s.repeat(ctx, 5*time.Second, s.change) })
	all.Go(func() { s.repeat(ctx, 10*time.Second, s.readRefusals) })
	all.Go(func() { s.report(ctx) })
	err = s.kill(ctx)
	all.Wait()
	must(ts, err)
	s.readRefusals(context.Background())
	ts.Logf("%s", s.figures())
	if err := s.judge(); err != nil {
		ts.Fatalf("%v", err)
	}
}

// findBoxes finds the networks of the containers.
func (s *soak) findBoxes(ctx context.Context) error {
	for _, name := range []string{soakOne, soakTwo, soakWeb} {
		out, err := s.agent.CLI(ctx, "inspect", "-f", "{{.NetworkSettings.SandboxKey}} "+
			"{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.GlobalIPv6Address}}{{end}}", name)
		if err != nil {
			return err
		}
		f := strings.Fields(out)
		if s.boxes[name], err = lab.On(fmt.Sprintf("/proc/%d/root%s", s.Pid(), f[0])); err != nil {
			return err
		}
		if name == soakWeb {
			s.web = f[1:]
		}
	}
	return nil
}

// repeat calls do until ctx ends, with random pauses of up to twice an average.
func (s *soak) repeat(ctx context.Context, average time.Duration, do func(context.Context)) {
	for ctx.Err() == nil {
		do(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(rand.Int64N(int64(2 * average)))):
		}
	}
}

// count counts an event.
func (s *soak) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[what]++
}

// fault records a false refusal, or what passed although the policy does not allow it.
func (s *soak) fault(format string, args ...any) {
	text := time.Now().UTC().Format(time.TimeOnly) + " " + fmt.Sprintf(format, args...)
	fmt.Fprintln(os.Stderr, "policysoak: fault:", text)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, text)
}

// figures returns what happened so far.
func (s *soak) figures() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(s.counts)) {
		fmt.Fprintf(&b, "%s: %d\n", what, s.counts[what])
	}
	return b.String() + fmt.Sprintf("faults: %d", len(s.faults))
}

// report prints the figures from time to time, as the log of a script is printed at its end.
func (s *soak) report(ctx context.Context) {
	const every = 5 * time.Minute
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
			text := strings.ReplaceAll(s.figures(), "\n", ", ")
			fmt.Fprintf(os.Stderr, "policysoak: %s %s: %s\n", time.Now().UTC().Format(time.TimeOnly), s.Dir, text)
		}
	}
}

// judge returns an error for a fault, and for a kind of connection that never happened.
func (s *soak) judge() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults) > 0 {
		return fmt.Errorf("%d faults: %s", len(s.faults), strings.Join(s.faults[:min(len(s.faults), 10)], "; "))
	}
	for _, u := range s.uses() {
		if s.counts[u.what] == 0 {
			return fmt.Errorf("nothing of this happened: %s", u.what)
		}
	}
	return nil
}

// kill kills processes of the agent and starts them again until ctx ends.
func (s *soak) kill(ctx context.Context) error {
	names := s.agent.Services()
	for ctx.Err() == nil {
		time.Sleep(time.Duration(rand.IntN(8000)) * time.Millisecond)
		victims := []string{names[rand.IntN(len(names))]}
		if rand.IntN(8) == 0 {
			victims = names
		}
		enforcing := slices.Contains(victims, "nat") || slices.Contains(victims, "")
		if enforcing {
			s.away.Add(1)
		}
		if err := s.agent.Stop(syscall.SIGKILL, victims...); err != nil {
			return err
		}
		time.Sleep(time.Duration(rand.IntN(1000)) * time.Millisecond)
		if err := s.agent.Start(context.Background()); err != nil {
			return err
		}
		if enforcing {
			s.away.Add(1)
		}
		for _, v := range victims {
			s.count("kills of " + v + "agent")
		}
	}
	return nil
}

// change replaces the rules of soakOne while it uses them. The command fails while an agent is away.
func (s *soak) change(ctx context.Context) {
	rules := soakRules
	if rand.IntN(2) == 0 {
		rules += ",other.test:9999,!198.51.100.98"
	}
	if _, err := s.agent.CLI(ctx, "update", "--egress", rules, soakOne); err == nil {
		s.count("changes of rules")
	}
}
