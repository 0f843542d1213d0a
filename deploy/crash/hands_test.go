package crash

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

// externalChange is a change of the agent's objects by another program. PORT, BRIDGE and PIN are
// replaced by the host interface, bridge and namespace of the bystander.
type externalChange struct{ name, command string }

func externalChanges() []externalChange {
	return []externalChange{
		{"port off the bridge", "ip link set PORT nomaster"},
		{"port down", "ip link set PORT down"},
		{"bridge down", "ip link set BRIDGE down"},
		{"bridge without addresses", "ip addr flush dev BRIDGE"},
		{"neighbour entries gone", "ip neigh flush dev BRIDGE nud permanent"},
		{"default route inside gone", "nsenter --net=PIN ip route del default"},
		{"address inside gone", "nsenter --net=PIN ip addr flush dev eth0"},
		{"interface inside down", "nsenter --net=PIN ip link set eth0 down"},
		{"interface inside gone", "nsenter --net=PIN ip link del eth0"},
		{"name file gone", "sh -c 'rm EXEC/dns/*/resolv.conf'"},
		{"rules flushed", "sh -c 'nft flush ruleset || true'"},
	}
}

// TestExternalChangesRepaired changes kernel objects of the agent. The agent repairs them itself,
// or system check finds the drift and --repair repairs it. The container keeps running.
func TestExternalChangesRepaired(t *testing.T) {
	p := newPlan(t)
	w := newWorld(t, p, lab.AllInOne)
	defer func() { w.close() }()
	for _, h := range externalChanges() {
		t.Run(h.name, func(t *testing.T) {
			w.foreign(t, h)
		})
	}
}

func (w *world) foreign(t *testing.T, h externalChange) {
	r, err := w.peers.read(w.ctx)
	if err != nil {
		t.Fatal(err)
	}

	command := strings.ReplaceAll(h.command, "EXEC", w.agent.ExecRoot())
	for _, c := range r.containers {
		e := c.GetSandbox().GetEndpoints()[0]
		command = strings.NewReplacer("PORT", e.GetHostInterface(), "BRIDGE", e.GetBridge(),
			"PIN", c.GetSandbox().GetNetnsPath()).Replace(command)
	}

	if out, err := w.Host.Output(w.ctx, "sh", "-c", command); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	found, ferr := w.run("system check")
	if ferr == nil && len(w.differences()) > 0 {
		t.Errorf("system check misses %v\n%s", w.differences(), found)
	}

	if out, err := w.run("system check --repair"); err != nil {
		t.Errorf("system check --repair: %v\n%s", err, out)
	}

	if err := w.agree(); err != nil {
		t.Errorf("%v\n%s", err, tail(w.agent.Log()))
	}
}

// TestStoreFaultsRecovered removes, truncates and resets each store while the agent is down. The
// agent starts and repairs the state, or it fails with an error that names the file and starts
// again with the old file. The running container is not affected.
func TestStoreFaultsRecovered(t *testing.T) {
	p := newPlan(t)
	w := newWorld(t, p, lab.AllInOne)
	defer func() { w.close() }()
	for _, store := range []string{"supervisor.db", "net.db", "nat.db", "dns.db"} {
		for kind, spoil := range map[string]func(path, before string) error{
			"lost":              func(path, _ string) error { return os.Remove(path) },
			"empty":             func(path, _ string) error { return os.Truncate(path, 0) },
			"one change behind": func(path, before string) error { return copyFile(before, path) },
		} {
			t.Run(store+" "+kind, func(t *testing.T) { w.spoiled(t, store, spoil) })
		}
	}
}

func (w *world) spoiled(t *testing.T, store string, spoil func(path, before string) error) {
	path := filepath.Join(w.agent.DataRoot(), store)
	before, kept := filepath.Join(w.Dir, "before"), filepath.Join(w.Dir, "kept")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%v\n%s", err, tail(w.agent.Log()))
		}
	}
	_, _ = w.run("rm -f web")
	_, err := w.run("run -d " + web)
	must(err)
	must(w.agree())
	must(copyFile(path, before))
	_, err = w.run("network connect n2 web")
	must(err)
	must(w.agree())
	must(w.agent.Stop(syscall.SIGKILL))
	must(copyFile(path, kept))
	must(spoil(path, before))

	serr := w.agent.Start(w.ctx)
	if _, err := os.Stat(w.Root("/proc/" + strings.Fields(w.watched)[0])); err != nil {
		t.Errorf("bystander was killed\n%s", tail(w.agent.Log()))
	}

	if serr != nil {
		if !strings.Contains(serr.Error(), store) {
			t.Errorf("the error does not name the file: %v", serr)
		}
		must(w.agent.Stop(syscall.SIGKILL))
		must(copyFile(kept, path))
		must(w.agent.Start(w.ctx))
	}

	if err := w.agree(); err != nil {
		t.Errorf("%v\n%s", err, tail(w.agent.Log()))
	}
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}
