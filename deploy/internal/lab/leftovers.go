package lab

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// patience is how long what goes in the background may take to go.
const patience = 20 * time.Second

// CheckLeftovers answers when nothing of a container is left on the host, and else what is: in the kernel, among the processes, on disk or in the
// agent's answers.
func (a *Agent) CheckLeftovers(ctx context.Context) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		left := a.leftovers(ctx)
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("left behind:\n  %s", strings.Join(left, "\n  "))
		}
	}
}

// trace is a command whose output shows what only containers need: every match of the pattern is left over.
type trace struct{ what, pattern, command string }

func (a *Agent) traces() []trace {
	return []trace{
		{"link", `(?m)^.*\bveth.*$`, "ip -o link show"},
		{"published port", `(?m)^.*elements = .* : .*$`, "nft list table inet fairlead"},
		{"translated connection", `(?m)^(tcp|udp|sctp) .*$`, "conntrack -L --dst-nat"},
		{"mount", `(?m)^\S+ \S*` + regexp.QuoteMeta(a.lab.Dir) + `(\S* (overlay|nsfs)|/e/dns/\S* tmpfs).*$`, "cat /proc/mounts"},
		{"neighbour", `(?m)^.*\bdocker0\b.*PERMANENT.*$`, "ip neigh show nud permanent"},
		{"held port", `(?m)^.*(0\.0\.0\.0|\[::\]|` + regexp.QuoteMeta(HostIPv4) + `):\d+ .*$`, "ss -Hltun"},
	}
}

func (a *Agent) leftovers(ctx context.Context) []string {
	var left []string
	for _, t := range a.traces() {
		command := strings.Fields(t.command)
		out, err := a.lab.Host.Output(ctx, command[0], command[1:]...)
		if err != nil {
			left = append(left, err.Error())
		}
		for _, found := range regexp.MustCompile(t.pattern).FindAllString(out, -1) {
			left = append(left, t.what+": "+strings.TrimSpace(found))
		}
	}
	for _, p := range a.lab.Processes() {
		if !strings.HasPrefix(p.Name, "fairlead-agent") {
			left = append(left, "process: "+p.String())
		}
	}
	out, err := a.CLI(ctx, "ps", "-aq")
	if err != nil {
		left = append(left, err.Error())
	}
	for id := range strings.FieldsSeq(out) {
		left = append(left, "container: "+id)
	}
	return append(left, a.files()...)
}

// containerID is what folders and files of a container are named for.
var containerID = regexp.MustCompile(`^[0-9a-f]{64}`)

// files lists what is on disk for a container. Layers and images are named for what is in them, and stay.
func (a *Agent) files() []string {
	var left []string
	for _, root := range []string{a.DataRoot(), a.ExecRoot()} {
		_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			switch {
			case err != nil: // gone meanwhile
				return nil
			case e.IsDir() && (e.Name() == "layers" || e.Name() == "images"):
				return fs.SkipDir
			case !containerID.MatchString(e.Name()):
				return nil
			}
			left = append(left, "on disk: "+path)
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		})
	}
	return left
}
