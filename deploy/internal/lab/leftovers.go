package lab

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// goneTimeout limits the wait for asynchronous removals.
const goneTimeout = 20 * time.Second

// CheckLeftovers returns an error that lists what remains of containers: in the kernel, among the
// processes, on disk or in the agent's responses.
func (a *Agent) CheckLeftovers(ctx context.Context) error {
	for deadline := time.Now().Add(goneTimeout); ; time.Sleep(50 * time.Millisecond) {
		left := a.leftovers(ctx)
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("left behind:\n  %s", strings.Join(left, "\n  "))
		}
	}
}

// trace is a command whose output must not match the pattern.
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
		if !strings.HasPrefix(p.Name, "fairlead-agent") && !a.isIdleHolder(p) {
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

// Sockets of a holder of files without files: its listener and two connections of the agent.
const idleHolderSockets = 3

// isIdleHolder reports whether a process is the holder of the resolvers' sockets and holds none. It exits later.
func (a *Agent) isIdleHolder(p Process) bool {
	if p.Name != "fairlead-holder" {
		return false
	}
	fds, _ := filepath.Glob(a.lab.Root(fmt.Sprintf("/proc/%d/fd/*", p.Pid)))
	sockets := 0
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err != nil || strings.HasPrefix(target, "socket:") {
			sockets++
		}
	}
	return sockets <= idleHolderSockets
}

// containerID matches the names of files and directories of a container.
var containerID = regexp.MustCompile(`^[0-9a-f]{64}`)

// files lists the files of containers. Layers and images are kept.
func (a *Agent) files() []string {
	var left []string
	for _, root := range []string{a.DataRoot(), a.ExecRoot()} {
		_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			switch {
			case err != nil: // removed in the meantime
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
