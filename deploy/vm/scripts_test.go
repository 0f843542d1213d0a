package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptsLimit is the time limit of all scripts.
const scriptsLimit = 15 * time.Minute

// TestHubScripts runs the scripts of testdata sequentially, on three machines on one hub. The name
// of a machine is a script command that runs a command on it. The other commands are documented
// below.
func TestHubScripts(t *testing.T) {
	needVM(t)
	ctx, cancel := context.WithTimeout(context.Background(), scriptsLimit)
	t.Cleanup(cancel)
	prepare(ctx, t)
	images := imageFiles(ctx, t)
	all := startCluster(ctx, t)
	all.equip(t, images)
	t.Cleanup(func() {
		if t.Failed() {
			for _, name := range []string{"one", "two"} {
				t.Logf("agent of %s:\n%s", name, all.must(t, name, "cat", "/run/agent.log"))
			}
		}
	})
	before := all.state(t)
	commands := map[string]func(*testscript.TestScript, bool, []string){
		"eventually": all.eventually,
		"capture":    all.capture,
		"captured":   all.captured,
		"leftovers":  func(ts *testscript.TestScript, _ bool, _ []string) { all.leftovers(ts, before) },
	}
	for _, name := range machineNames {
		commands[name] = func(ts *testscript.TestScript, neg bool, args []string) { all.command(ts, neg, name, args) }
	}

	testscript.RunT(sequential{t}, testscript.Params{Dir: "testdata", Cmds: commands, RequireUniqueNames: true})
}

// sequential runs the scripts sequentially, because they share the machines.
type sequential struct{ *testing.T }

func (sequential) Parallel() {}

func (o sequential) Run(name string, f func(testscript.T)) {
	failed := o.Failed()
	o.T.Run(name, func(t *testing.T) {
		if failed {
			t.Skip("an earlier script failed and can have left changes on the machines")
		}
		f(sequential{t})
	})
}

func (o sequential) Verbose() bool { return testing.Verbose() }

// command runs a command on a machine: `one fairlead ps`.
func (all *cluster) command(ts *testscript.TestScript, neg bool, name string, args []string) {
	code := all.execute(ts, name, args)
	if neg != (code != 0) {
		ts.Fatalf("%s: exit code %d", name, code)
	}
}

// execute runs a command on a machine and copies its output to that of the script.
func (all *cluster) execute(ts *testscript.TestScript, name string, args []string) (code int) {
	r, err := all.run(name, args...)
	if err != nil {
		ts.Fatalf("%v", err)
	}
	fmt.Fprint(ts.Stdout(), string(r.Out))
	fmt.Fprint(ts.Stderr(), string(r.Errs))
	return r.Code
}

// eventually [!] MACHINE COMMAND… runs a command until it succeeds, or with ! until it fails.
func (all *cluster) eventually(ts *testscript.TestScript, _ bool, args []string) {
	wanted := true
	if args[0] == "!" {
		wanted, args = false, args[1:]
	}

	for deadline := time.Now().Add(commandLimit); ; time.Sleep(200 * time.Millisecond) {
		r, err := all.run(args[0], args[1:]...)
		if err != nil {
			ts.Fatalf("%v", err)
		}
		if (r.Code == 0) == wanted {
			fmt.Fprint(ts.Stdout(), string(r.Out))
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%v: still exit code %d\n%s%s", args, r.Code, r.Out, r.Errs)
		}
	}
}

// capture MACHINE FILTER… starts a packet capture on a machine.
func (all *cluster) capture(ts *testscript.TestScript, _ bool, args []string) {
	script := `rm -f /run/packets /run/tcpdump.log
tcpdump -l -n -e -U -i eth0 "$@" >/run/packets 2>/run/tcpdump.log & echo $! >/run/tcpdump.pid
for i in $(seq 100); do
  if grep -q 'listening on' /run/tcpdump.log; then exit 0; fi
  sleep 0.1
done
cat /run/tcpdump.log >&2
exit 1`
	if code := all.execute(ts, args[0], append([]string{"sh", "-c", script, "sh"}, args[1:]...)); code != 0 {
		ts.Fatalf("%s: cannot start the capture", args[0])
	}
}

// captured MACHINE stops the capture and prints the packets.
func (all *cluster) captured(ts *testscript.TestScript, _ bool, args []string) {
	script := `sleep 0.5; kill -INT $(cat /run/tcpdump.pid)
while kill -0 $(cat /run/tcpdump.pid) 2>/dev/null; do sleep 0.05; done
cat /run/packets`
	if code := all.execute(ts, args[0], []string{"sh", "-c", script}); code != 0 {
		ts.Fatalf("%s: cannot read the capture", args[0])
	}
}

// stateScript prints the state that a script must restore.
const stateScript = `(ip -o link; ip -o addr; ip route; ip -6 route) | grep -v docker0 | sed 's/ valid_lft.*//'
if [ "$(hostname)" != lan ]; then
  fairlead ps -aq
  fairlead network ls
  ip neigh show nud permanent
  nft list tables
  ls /run/fairlead/netns
fi`

func (all *cluster) state(t *testing.T) map[string]string {
	out := map[string]string{}
	for _, name := range machineNames {
		out[name] = all.must(t, name, "sh", "-c", stateScript)
	}
	return out
}

// leftovers fails if the state of a machine differs from the one before all scripts.
func (all *cluster) leftovers(ts *testscript.TestScript, before map[string]string) {
	for _, name := range machineNames {
		for deadline := time.Now().Add(commandLimit); ; time.Sleep(200 * time.Millisecond) {
			r, err := all.run(name, "sh", "-c", stateScript)
			if err != nil {
				ts.Fatalf("%v", err)
			}
			if string(r.Out) == before[name] {
				break
			}
			if time.Now().After(deadline) {
				ts.Fatalf("leftovers on %s:\n%s", name, difference(before[name], string(r.Out)))
			}
		}
	}
}

// difference returns the lines that only one of two texts has.
func difference(before, after string) string {
	var b strings.Builder
	for _, d := range []struct{ sign, has, lacks string }{{"-", before, after}, {"+", after, before}} {
		for line := range strings.Lines(d.has) {
			if !strings.Contains(d.lacks, line) {
				b.WriteString(d.sign + line)
			}
		}
	}
	return b.String()
}
