package e2e

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// leftovers fails if anything of a container is left: in the kernel, among the processes, on disk or in the agent's answers. It waits a
// little, since some of it goes in the background.
func leftovers(ts *testscript.TestScript, _ bool, _ []string) {
	must(ts, of(ts).clean(context.Background()))
}

func (s *story) clean(ctx context.Context) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		left := s.leftovers(ctx)
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("left behind:\n  %s", strings.Join(left, "\n  "))
		}
	}
}

// leftovers lists what only containers need.
func (s *story) leftovers(ctx context.Context) []string {
	var left []string
	add := func(what, text string) {
		for line := range strings.Lines(text) {
			left = append(left, what+": "+strings.TrimSpace(line))
		}
	}
	lines := func(what, pattern, name string, args ...string) {
		out, err := s.Host.Output(ctx, name, args...)
		if err != nil {
			add(name, err.Error())
		}
		for _, found := range regexp.MustCompile(pattern).FindAllString(out, -1) {
			add(what, found)
		}
	}
	lines("link", `(?m)^.*\bveth.*$`, "ip", "-o", "link", "show")
	lines("published port", `(?m)^.*elements = .*: .*$`, "nft", "list", "table", "inet", "fairlead")
	lines("translated connection", `(?m)^\w+ +\d+.*$`, "conntrack", "-L", "--dst-nat")
	lines("mount", `(?m)^\S+ \S*`+regexp.QuoteMeta(s.Dir)+`\S* (overlay|nsfs).*$`, "cat", "/proc/mounts")
	lines("neighbour", `(?m)^.*\bdocker0\b.*PERMANENT.*$`, "ip", "neigh", "show", "nud", "permanent")
	lines("held port", `(?m)^.*(0\.0\.0\.0|\[::\]|192\.168\.8\.115):\d+ .*$`, "ss", "-Hltun")
	for _, p := range s.Processes() {
		if !strings.HasPrefix(p.Name, "fairlead-agent") && p.Name != "cat" && p.Name != "ip" {
			add("process", p.String())
		}
	}
	out, err := s.agent.CLI(ctx, "ps", "-aq")
	if err != nil {
		add("ps", err.Error())
	}
	add("container", out)
	return append(left, s.files()...)
}

// containerID is what folders and files of a container are named for.
var containerID = regexp.MustCompile(`^[0-9a-f]{64}`)

// files lists what is on disk for a container. Layers are named for what is in them, and stay.
func (s *story) files() []string {
	var left []string
	for _, root := range []string{s.agent.DataRoot(), s.agent.ExecRoot()} {
		_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return nil // gone meanwhile
			}
			if e.IsDir() && (e.Name() == "layers" || e.Name() == "images") {
				return fs.SkipDir
			}
			if containerID.MatchString(e.Name()) {
				left = append(left, "on disk: "+path)
				if e.IsDir() {
					return fs.SkipDir
				}
			}
			return nil
		})
	}
	return left
}

// cgroups are the machine's cgroups of containers. Those of other agents on the machine have processes, and are not counted.
func cgroups() map[string]bool {
	found := map[string]bool{}
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() || !containerID.MatchString(strings.TrimPrefix(e.Name(), "fairlead-")) {
			return nil
		}
		if procs, err := os.ReadFile(filepath.Join(path, "cgroup.procs")); err == nil && len(procs) == 0 {
			found[path] = true
		}
		return nil
	})
	return found
}
