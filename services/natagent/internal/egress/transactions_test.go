package egress_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
)

// monitor records the changes of nf_tables in the host.
type monitor struct {
	w     *world
	file  string
	read  int // bytes
	marks int
}

func newMonitor(w *world) *monitor {
	w.t.Helper()
	m := &monitor{w: w, file: filepath.Join(w.t.TempDir(), "monitor")}
	f, err := os.Create(m.file)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := w.host.Command(ctx, "nft", "monitor")
	cmd.Stdout = f
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { cancel(); _ = cmd.Wait(); _ = f.Close() })
	m.transactions() // it is ready
	return m
}

// transactions returns the lines of each transaction since the last call.
func (m *monitor) transactions() (all [][]string) {
	m.w.t.Helper()
	m.marks++
	mark := fmt.Sprintf("table ip seen%d", m.marks)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		m.w.host.Run("nft", "add "+mark+"; delete "+mark)
		text, err := os.ReadFile(m.file)
		if err != nil {
			m.w.t.Fatal(err)
		}
		before, _, ok := strings.Cut(string(text[m.read:]), "add "+mark+"\n")
		if !ok {
			continue
		}
		m.read += len(before)
		for _, one := range strings.Split(before, "# new generation") {
			all = append(all, strings.Split(one, "\n"))
		}
		return all
	}
	m.w.t.Fatal("nft monitor reports nothing")
	return nil
}

// inOrder reports the first line that no transaction after those of the lines before begins with.
func (m *monitor) inOrder(what string, lines ...string) {
	m.w.t.Helper()
	rest := m.transactions()
	for _, line := range lines {
		i := slices.IndexFunc(rest, func(lines []string) bool {
			return slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, line) })
		})
		if i < 0 {
			m.w.t.Fatalf("%s: no later transaction has %q; the last ones are %q", what, line, rest)
		}
		rest = rest[i+1:]
	}
}

// While a transaction takes effect, a packet can meet rules of before and elements of after it. So chains are added
// before elements name them, and sets before chains with hooks; what is in force is deleted last, and sets after
// chains with hooks.
func TestReplacementsAreNeverOpen(t *testing.T) {
	w := newWorld(t)
	w.put("10.9.0.3:80,label:a=b") // a chain that names others is not kept
	m := newMonitor(w)
	chain := rules.TableName + " out_"
	w.put("10.9.0.3:81")
	m.inOrder("a new policy", "add chain inet "+chain, "add element inet "+rules.TableName+" policies",
		"delete chain inet "+chain)
	w.start()
	m.inOrder("a restart", "add set inet "+rules.CopyName, "add chain inet "+rules.CopyName+" forward",
		"delete chain inet "+rules.TableName+" forward", "add set inet "+rules.TableName,
		"add chain inet "+rules.TableName+" forward", "delete chain inet "+rules.CopyName+" forward",
		"delete set inet "+rules.CopyName)
}
