package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// wiredPatience bounds what is told on the wire.
const wiredPatience = 6 * time.Minute

// TestScriptsOfTheWire tells the stories of testdata on three machines on one wire, one story after the other. A machine's name runs a
// command there; the other words are told of below.
func TestScriptsOfTheWire(t *testing.T) {
	needLab(t)
	ctx, cancel := context.WithTimeout(context.Background(), wiredPatience)
	t.Cleanup(cancel)
	prepare(ctx, t)
	images := imageFiles(ctx, t)
	all := startWired(ctx, t)
	all.equip(t, images)
	t.Cleanup(func() {
		if t.Failed() {
			for _, name := range []string{"one", "two"} {
				t.Logf("agent of %s:\n%s", name, all.must(t, name, "cat", "/run/agent.log"))
			}
		}
	})
	before := all.state(t)
	words := map[string]func(*testscript.TestScript, bool, []string){
		"eventually": all.eventually,
		"capture":    all.capture,
		"captured":   all.captured,
		"leftovers":  func(ts *testscript.TestScript, _ bool, _ []string) { all.leftovers(ts, before) },
	}
	for _, name := range wiredNames {
		words[name] = func(ts *testscript.TestScript, neg bool, args []string) { all.word(ts, neg, name, args) }
	}
	testscript.RunT(oneByOne{t}, testscript.Params{Dir: "testdata", Cmds: words, RequireUniqueNames: true})
}

// oneByOne are tests that share machines.
type oneByOne struct{ *testing.T }

func (oneByOne) Parallel() {}

func (o oneByOne) Run(name string, f func(testscript.T)) {
	failed := o.Failed()
	o.T.Run(name, func(t *testing.T) {
		if failed {
			t.Skip("the story before this one failed, and left the machines as they are")
		}
		f(oneByOne{t})
	})
}

func (o oneByOne) Verbose() bool { return testing.Verbose() }

// word runs a command on a machine: `one fairlead ps`.
func (all *wired) word(ts *testscript.TestScript, neg bool, name string, args []string) {
	code := all.say(ts, name, args)
	if neg != (code != 0) {
		ts.Fatalf("%s: exit code %d", name, code)
	}
}

// say runs a command on a machine and hands on what it prints.
func (all *wired) say(ts *testscript.TestScript, name string, args []string) (code int) {
	r, err := all.run(name, args...)
	if err != nil {
		ts.Fatalf("%v", err)
	}
	fmt.Fprint(ts.Stdout(), string(r.Out))
	fmt.Fprint(ts.Stderr(), string(r.Errs))
	return r.Code
}

// eventually [!] MACHINE COMMAND… runs a command until it succeeds, or with ! until it fails.
func (all *wired) eventually(ts *testscript.TestScript, _ bool, args []string) {
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
			ts.Fatalf("%v still: exit code %d\n%s%s", args, r.Code, r.Out, r.Errs)
		}
	}
}

// capture MACHINE FILTER… has a machine listen to its card from now on.
func (all *wired) capture(ts *testscript.TestScript, _ bool, args []string) {
	script := `rm -f /run/heard /run/deaf
tcpdump -l -n -e -U -i eth0 "$@" >/run/heard 2>/run/deaf & echo $! >/run/listener
for i in $(seq 100); do
  if grep -q 'listening on' /run/deaf; then exit 0; fi
  sleep 0.1
done
cat /run/deaf >&2
exit 1`
	if code := all.say(ts, args[0], append([]string{"sh", "-c", script, "sh"}, args[1:]...)); code != 0 {
		ts.Fatalf("%s cannot listen", args[0])
	}
}

// captured MACHINE prints what it has heard since, and ends the listening.
func (all *wired) captured(ts *testscript.TestScript, _ bool, args []string) {
	script := `sleep 0.5; kill -INT $(cat /run/listener)
while kill -0 $(cat /run/listener) 2>/dev/null; do sleep 0.05; done
cat /run/heard`
	if code := all.say(ts, args[0], []string{"sh", "-c", script}); code != 0 {
		ts.Fatalf("%s has not listened", args[0])
	}
}

// remains is what a story must leave as it was.
const remains = `(ip -o link; ip -o addr; ip route; ip -6 route) | grep -v docker0 | sed 's/ valid_lft.*//'
if [ "$(hostname)" != lan ]; then
  fairlead ps -aq
  fairlead network ls
  ip neigh show nud permanent
  nft list tables
  ls /run/fairlead/netns
fi`

func (all *wired) state(t *testing.T) map[string]string {
	out := map[string]string{}
	for _, name := range wiredNames {
		out[name] = all.must(t, name, "sh", "-c", remains)
	}
	return out
}

// leftovers fails if a machine is not as it was before all stories.
func (all *wired) leftovers(ts *testscript.TestScript, before map[string]string) {
	for _, name := range wiredNames {
		for deadline := time.Now().Add(commandLimit); ; time.Sleep(200 * time.Millisecond) {
			r, err := all.run(name, "sh", "-c", remains)
			if err != nil {
				ts.Fatalf("%v", err)
			}
			if string(r.Out) == before[name] {
				break
			}
			if time.Now().After(deadline) {
				ts.Fatalf("%s is not as it was:\n%s", name, difference(before[name], string(r.Out)))
			}
		}
	}
}

// difference is the lines that only one of two texts has.
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
