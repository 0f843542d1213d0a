package netagent

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
)

// budgetOf is the number of sandboxes that the traced process creates.
const budgetOf = "FL_TEST_BUDGET"

// TestCreateSandboxBudget counts the system calls of a launch: a new process is traced while it
// creates sandboxes, and the difference between many and few is the cost of one. A change that adds
// a disk flush, a call of natagent or netlink requests to each launch fails.
func TestCreateSandboxBudget(t *testing.T) {
	testns.NeedRoot(t)
	if n := os.Getenv(budgetOf); n != "" {
		createForBudget(t, n)
		return
	}

	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}

	limits := map[string]float64{
		"disk flushes": 2, "netlink requests": 30, "namespaces": 1, "mounts": 1, // a commit flushes twice
	}
	least := map[string]float64{}
	for range budgetTries {
		within := true
		for what, got := range perSandbox(t, strace) {
			if known, ok := least[what]; !ok || got < known {
				least[what] = got
			}
			within = within && least[what] <= limits[what]+0.5
		}
		if within {
			break
		}
	}

	for what, most := range limits {
		t.Logf("%s: %.1f for a sandbox", what, least[what])
		if least[what] > most+0.5 {
			t.Errorf("%s: got %.1f for a sandbox, want at most %.0f", what, least[what], most)
		}
	}
}

// budgetTries bounds the measurements. On a busy machine controllers check the kernel more often
// meanwhile, which adds to a measurement, so the least one counts.
const budgetTries = 4

// perSandbox returns the number of system calls of each kind for one sandbox.
func perSandbox(t *testing.T, strace string) map[string]float64 {
	t.Helper()
	const few, many = 2, 12
	base, all := traced(t, strace, few), traced(t, strace, many)
	one := map[string]float64{}
	for what := range all {
		one[what] = float64(all[what]-base[what]) / (many - few)
	}
	return one
}

// createForBudget creates sandboxes on the default bridge. Only the first network is sent to natagent.
func createForBudget(t *testing.T, n string) {
	count, err := strconv.Atoi(n)
	if err != nil {
		t.Fatal(err)
	}
	a := newHost(t).run()
	before := len(a.guard.Puts())
	for range count {
		a.container()
	}
	if calls := len(a.guard.Puts()) - before; calls > 0 {
		t.Errorf("got %d calls of natagent", calls)
	}
}

// traced returns the number of system calls of each kind in a process that creates n sandboxes.
func traced(t *testing.T, strace string, n int) map[string]int {
	t.Helper()
	file := filepath.Join(t.TempDir(), "trace")
	cmd := exec.CommandContext(t.Context(), strace, "-f", "-qq", "-s", "16", "-o", file,
		"-e", "trace=fsync,fdatasync,sendto,unshare,mount",
		os.Args[0], "-test.run", "^TestCreateSandboxBudget$", "-test.count=1")
	cmd.Env = append(os.Environ(), budgetOf+"="+strconv.Itoa(n))
	if out, err := cmd.CombinedOutput(); err != nil {
		if bytes.Contains(out, []byte("PTRACE")) || bytes.Contains(out, []byte("ptrace")) {
			t.Skipf("processes cannot be traced here: %s", out)
		}
		t.Fatalf("%v: %s", err, out)
	}

	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}

	counts := map[string]int{}
	for what, call := range map[string]*regexp.Regexp{
		"disk flushes":     regexp.MustCompile(`(?m)^\d+\s+(fsync|fdatasync)\(`),
		"netlink requests": regexp.MustCompile(`(?m)^\d+\s+sendto\([^\n]*AF_NETLINK`),
		"namespaces":       regexp.MustCompile(`(?m)^\d+\s+unshare\(`),
		"mounts":           regexp.MustCompile(`(?m)^\d+\s+mount\(`),
	} {
		counts[what] = len(call.FindAll(data, -1))
	}

	return counts
}
