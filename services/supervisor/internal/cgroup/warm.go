package cgroup

import (
	"os"
	"path/filepath"
	"strconv"
)

// PrimeMigration speeds up moves of processes between cgroups that follow shortly.
//
// The kernel takes one lock for every move. The first move after a pause waits for an RCU grace
// period, about ten milliseconds; moves that follow shortly do not (rcu_sync in kernel/rcu/sync.c).
// PrimeMigration moves a monitor into the agent's v2 cgroup, where it already is, while other steps
// of a launch still run. Errors are ignored: the next move is then slower.
func (l Layout) PrimeMigration(execRoot string, pid int) {
	if l.V2 != "" {
		_ = os.WriteFile(filepath.Join(l.V2, l.claim(execRoot), "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
	}
}
