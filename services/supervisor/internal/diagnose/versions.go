package diagnose

import (
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/agent/diagnosis"
)

// advisory is a published container escape through a runtime.
type advisory struct {
	program string
	ids     []string
	fixed   []version // the first fixed release of each branch, lowest first
	feature string    // affects only builds with this feature; empty means all
}

func advisories() []advisory {
	return []advisory{
		{program: "runc", ids: []string{"CVE-2024-21626"}, fixed: []version{{1, 1, 12}}},
		{program: "runc", ids: []string{"CVE-2024-45310"}, fixed: []version{{1, 1, 14}, {1, 2, 0}}},
		{program: "runc", ids: []string{"CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881"},
			fixed: []version{{1, 2, 8}, {1, 3, 3}, {1, 4, 0}}},
		{program: "crun", ids: []string{"CVE-2025-24965"}, fixed: []version{{1, 20, 0}}, feature: "+LIBKRUN"},
	}
}

// version holds major, minor and patch level.
type version [3]int

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

func (v version) compare(o version) int {
	return cmp.Or(cmp.Compare(v[0], o[0]), cmp.Compare(v[1], o[1]), cmp.Compare(v[2], o[2]))
}

// affects reports whether a version is older than the fix of its branch. Branches below the lowest
// fixed one have no fix.
func (a advisory) affects(v version) bool {
	for _, f := range slices.Backward(a.fixed) {
		if f[0] == v[0] && f[1] == v[1] {
			return v.compare(f) < 0
		}
	}
	return v.compare(a.fixed[len(a.fixed)-1]) < 0
}

var released = regexp.MustCompile(`version v?(\d+)\.(\d+)(?:\.(\d+))?(\S*)`)

// parseVersion parses the output of `runc --version` and `crun --version`. patched reports a
// distribution build, which can have backported fixes.
func parseVersion(output string) (v version, patched, ok bool) {
	m := released.FindStringSubmatch(output)
	if m == nil {
		return v, false, false
	}
	for i := range v {
		v[i], _ = strconv.Atoi(m[i+1]) // a missing patch level is 0
	}
	return v, m[4] != "", true
}

// versionFinding returns the finding for the version output of a runtime.
func versionFinding(program, path, output string) diagnosis.Finding {
	f := diagnosis.Finding{Area: containers, Name: program, Text: path}
	v, patched, ok := parseVersion(output)
	if !ok {
		return f
	}

	f.Text = path + " " + v.String()
	var ids []string
	var fixed []version
	for _, a := range advisories() {
		if a.program == program && a.affects(v) && strings.Contains(output, a.feature) {
			ids, fixed = append(ids, a.ids...), a.fixed // later advisories have later fixes
		}
	}

	if len(ids) == 0 {
		return f
	}

	f.Severity = diagnosis.Note
	f.Text += " is older than the fixes of " + strings.Join(ids, ", ")
	if patched {
		f.Text += ", unless the distribution has backported them"
	}

	var names []string
	for _, fix := range fixed {
		names = append(names, fix.String())
	}

	f.Hint = fmt.Sprintf("upgrade %s to %s or later", program, strings.Join(names, ", "))
	return f
}

// versionTimeout bounds the call of a runtime for its version.
const versionTimeout = 5 * time.Second

// runtimeFinding returns the finding for a runtime, with the advisories that affect its version.
func runtimeFinding(ctx context.Context, program string) diagnosis.Finding {
	path, err := exec.LookPath(program)
	if err != nil {
		return diagnosis.Check(containers, program, path, fmt.Errorf("%s is not installed", program), diagnosis.Note,
			"install it if a container uses it with --runtime")
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	output, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return diagnosis.Check(containers, program, path, err, diagnosis.Note, "")
	}
	return versionFinding(program, path, string(output))
}
