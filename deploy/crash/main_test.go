// Package crash injects one fault at a time at the crash points of the agent. After each it checks
// that all stores and the kernel agree, and that repeating and undoing the command works. The agent
// is built with the tag crashtest; package agent/crashpoint has the crash points.
//
// CRASH_FOR limits the time of a run (default 80s; 0: all points). CRASH_SEED repeats a run.
// CRASH_ONLY selects cases by a regular expression, such as "split/(connect|run)/.*". CRASH_BACKEND
// sets the firewall backend.
package crash

import (
	"cmp"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/deploy/internal/lab"
)

// short is the default time limit of a run.
const short = 80 * time.Second

func TestMain(m *testing.M) {
	lab.Init()
	os.Exit(m.Run())
}

// plan holds the settings of a run.
type plan struct {
	seed  uint64
	limit time.Duration // 0: none
	only  *regexp.Regexp
	verbs *regexp.Regexp // the second part of only
	bin   string

	backend string // of the firewall
}

func newPlan(t *testing.T) plan {
	t.Helper()
	testns.NeedRoot(t)
	for _, name := range []string{"crun", "conmon", "nft", "nsenter", "conntrack"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("needs %s installed", name)
		}
	}

	p := plan{seed: rand.Uint64() % 1_000_000, limit: short}
	var err error
	if given := os.Getenv("CRASH_SEED"); given != "" {
		if p.seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatal(err)
		}
	}

	if given := os.Getenv("CRASH_FOR"); given != "" {
		if p.limit, err = time.ParseDuration(given); err != nil {
			t.Fatal(err)
		}
	}

	only := cmp.Or(os.Getenv("CRASH_ONLY"), ".*/.*/.*")
	if p.only, err = regexp.Compile("^(" + only + ")$"); err != nil {
		t.Fatal(err)
	}

	parts := strings.Split(only, "/")
	if len(parts) < 3 {
		t.Fatalf("CRASH_ONLY is not MODE/VERB/PROCESS/ACTION/ORDINAL: %s", only)
	}
	p.verbs = regexp.MustCompile("^(" + parts[1] + ")$")

	p.backend = cmp.Or(os.Getenv("CRASH_BACKEND"), nftables)
	p.bin = build(t)
	t.Logf("CRASH_SEED=%d CRASH_FOR=%s CRASH_ONLY=%s CRASH_BACKEND=%s", p.seed, p.limit, p.only, p.backend)
	return p
}

// selects reports whether faults of a verb can be selected.
func (p plan) selects(v verb) bool { return p.verbs.MatchString(v.name) }

// build builds the binaries, the agent with crash points.
func build(t *testing.T) string {
	t.Helper()
	if bin := os.Getenv("CRASH_BIN"); bin != "" {
		return bin
	}

	bin := t.TempDir()
	for name, args := range map[string][]string{
		"fairlead":       {"./ctl/cmd/fairlead"},
		"fairlead-agent": {"-tags", "crashtest", "./services/cmd/fairlead-agent"},
	} {
		cmd := exec.Command("go", append([]string{"build", "-o", filepath.Join(bin, name)}, args...)...)
		cmd.Dir, cmd.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
	}

	return bin
}
