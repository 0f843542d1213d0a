package cgroup

import (
	"os"
	"path/filepath"
	"strconv"
)

// PrimeMigration makes the moves of processes between cgroups that come soon after it fast.
//
// The kernel takes one lock for every such move, and the first one after a pause waits for a grace period of RCU, some ten
// milliseconds; those that follow shortly do not (rcu_sync in kernel/rcu/sync.c). So a monitor, which is in the agent's own cgroup of
// the v2 hierarchy already, is put there once more while others still prepare what its container needs. It may fail: then the move
// that counts waits.
func (l Layout) PrimeMigration(execRoot string, pid int) {
	if l.V2 != "" {
		_ = os.WriteFile(filepath.Join(l.V2, l.claim(execRoot), "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
	}
}
