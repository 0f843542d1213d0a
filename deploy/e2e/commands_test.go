package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fairlead/fairlead/deploy/internal/registry"
)

func itoa(n int) string { return strconv.Itoa(n) }

func must(ts *testscript.TestScript, err error) {
	if err != nil {
		ts.Fatalf("%v", err)
	}
}

// checkNegated fails the script if err does not match neg.
func checkNegated(ts *testscript.TestScript, neg bool, err error) {
	switch {
	case err != nil && !neg:
		ts.Fatalf("%v", err)
	case err == nil && neg:
		ts.Fatalf("unexpected success")
	case err != nil:
		fmt.Fprintln(ts.Stderr(), err)
	}
}

// start-agent [FLAGS…] starts the processes of the agent that are not running.
func startAgent(ts *testscript.TestScript, neg bool, args []string) {
	checkNegated(ts, neg, of(ts).agent.Start(context.Background(), args...))
}

// refused-agent TEXT [FLAGS…] starts the processes of the agent. One of them must exit with a
// message that contains the text.
func refusedAgent(ts *testscript.TestScript, _ bool, args []string) {
	log, err := of(ts).agent.Refused(context.Background(), args[1:]...)
	must(ts, err)
	if !strings.Contains(log, args[0]) {
		ts.Fatalf("log lacks %q:\n%s", args[0], log)
	}
}

// manage-agent stops the agent and starts it under a service manager with an fd store.
func manageAgent(ts *testscript.TestScript, _ bool, _ []string) {
	a := of(ts).agent
	must(ts, a.Stop(syscall.SIGTERM))
	must(ts, a.Manage())
	must(ts, a.Start(context.Background()))
}

// kill-agent [-9] [SERVICE…] stops the agent, or the processes of the named services. In all-in-one
// mode it always stops the one process.
func killAgent(ts *testscript.TestScript, _ bool, args []string) {
	signal := syscall.SIGTERM
	if len(args) > 0 && args[0] == "-9" {
		signal, args = syscall.SIGKILL, args[1:]
	}
	must(ts, of(ts).agent.Stop(signal, args...))
}

// reboot reboots the host without a shutdown. The agent is not started.
func reboot(ts *testscript.TestScript, _ bool, _ []string) {
	s := of(ts)
	must(ts, s.agent.Stop(syscall.SIGKILL))
	s.disconnectRegistry()
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	must(ts, s.Reboot(ctx))
	s.setMachines(ts.Setenv)
	must(ts, s.connectRegistry())
}

// registry down|up|FAULT stops, starts or breaks the registry of the host.
func setRegistry(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts)
	switch args[0] {
	case "down":
		s.disconnectRegistry()
	case "up":
		must(ts, s.connectRegistry())
	default:
		s.registry.Set(registry.Fault(args[0]))
	}
}

// eventually [!] PROGRAM ARGS… runs a program until it succeeds, or with ! until it fails.
func eventually(ts *testscript.TestScript, _ bool, args []string) {
	wanted := true
	if args[0] == "!" {
		wanted, args = false, args[1:]
	}

	for deadline := time.Now().Add(waitLimit); ; time.Sleep(50 * time.Millisecond) {
		err := ts.Exec(args[0], args[1:]...)
		if (err == nil) == wanted {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%v: still %v", args, err)
		}
	}
}

// leftovers fails if containers left anything on the host.
func leftovers(ts *testscript.TestScript, _ bool, _ []string) {
	must(ts, of(ts).agent.CheckLeftovers(context.Background()))
}

// crash-launches N launches a container with a published port N times. It kills the agent at a
// random moment of each launch, starts it again and removes the container if it exists. Nothing
// must be left then.
func crashLaunches(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts)
	n, err := strconv.Atoi(args[0])
	must(ts, err)
	for i := range n {
		moment := time.Duration(rand.IntN(120)) * time.Millisecond
		ts.Logf("crash %d after %s", i, moment)
		must(ts, s.crashLaunch(ts.Getenv(binVar), moment))
	}
}

// crash-while COMMAND ARGUMENTS… runs a command, which can fail. It kills a process of the agent at
// a random moment meanwhile and starts it again.
func crashWhile(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts)
	moment := time.Duration(rand.IntN(60)) * time.Millisecond
	names := s.agent.Services()
	victim := names[rand.IntN(len(names))]
	ts.Logf("crash of %s after %s", victim, moment)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	args = append([]string{"-H", s.agent.Socket()}, args...)
	run := exec.CommandContext(ctx, ts.Getenv(binVar)+"/fairlead", args...)
	must(ts, run.Start())
	time.Sleep(moment)
	must(ts, s.agent.Stop(syscall.SIGKILL, victim))
	must(ts, s.agent.Start(ctx))
	if err := run.Wait(); err != nil {
		ts.Logf("%v: %v", args, err)
	}
}

func (s *scriptEnv) crashLaunch(bin string, moment time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	run := exec.CommandContext(ctx, bin+"/fairlead", "-H", s.agent.Socket(),
		"run", "-d", "--name", "victim", "-p", "8080:80", "nginx")
	run.Stderr = os.Stderr
	if err := run.Start(); err != nil {
		return err
	}

	time.Sleep(moment)
	names := s.agent.Services()
	if err := s.agent.Stop(syscall.SIGKILL, names[rand.IntN(len(names))]); err != nil {
		return err
	}

	_ = run.Wait() // it can have succeeded or failed
	if err := s.agent.Start(ctx); err != nil {
		return err
	}

	if out, err := s.agent.CLI(ctx, "ps", "-aq"); err != nil || out != "" {
		if out, err := s.agent.CLI(ctx, "rm", "-f", "victim"); err != nil {
			return fmt.Errorf("clean up: %w\n%s", err, out)
		}
	}

	return s.agent.CheckLeftovers(ctx)
}

// crash-networks N PARENT creates two macvlan networks on a VLAN device and removes them, N times.
// It kills the agent at a random moment meanwhile and starts it again. After the networks are
// removed no VLAN device must be left.
func crashNetworks(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts)
	n, err := strconv.Atoi(args[0])
	must(ts, err)
	for i := range n {
		moment := time.Duration(rand.IntN(150)) * time.Millisecond
		ts.Logf("crash %d after %s", i, moment)
		must(ts, s.crashNetwork(ts.Getenv(binVar), args[1], moment))
	}
}

func (s *scriptEnv) crashNetwork(bin, parent string, moment time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	busy := exec.CommandContext(ctx, "sh", "-c", `f="$0 -H $1"; for n in v1 v2; do $f network create -d macvlan -o parent=$2 $n; done; $f network rm v1; $f network rm v2`,
		bin+"/fairlead", s.agent.Socket(), parent)
	if err := busy.Start(); err != nil {
		return err
	}

	time.Sleep(moment)
	if err := s.agent.Stop(syscall.SIGKILL); err != nil {
		return err
	}

	_ = busy.Wait() // it can have succeeded or failed
	if err := s.agent.Start(ctx); err != nil {
		return err
	}

	if out, err := s.agent.CLI(ctx, "network", "rm", "-f", "v1", "v2"); err != nil {
		return fmt.Errorf("clean up: %w\n%s", err, out)
	}

	for deadline := time.Now().Add(waitLimit); ; time.Sleep(50 * time.Millisecond) {
		out, err := s.Host.Output(ctx, "sh", "-c", "ip -o link | grep 'shim-\\|@eth0' || true")
		if err != nil || out == "" {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("left behind: %s", out)
		}
	}
}
