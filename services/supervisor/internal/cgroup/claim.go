package cgroup

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
)

// CreateAgentCgroup creates the agent's cgroup, next to those of its containers. The name is
// derived from the exec root. This cgroup prevents other agents from removing the common parent. In
// the v2 hierarchy it also holds the monitors, so that they do not count as processes of the
// agent's unit. The returned file is that cgroup, for clone3(2); it is nil without a v2 hierarchy.
func (l Layout) CreateAgentCgroup(execRoot string) (*os.File, error) {
	for _, dir := range l.dirs(l.claim(execRoot)) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, broken("cannot be created", err, "run the agent as root")
		}
	}
	if l.V2 == "" {
		return nil, nil
	}
	return os.Open(filepath.Join(l.V2, l.claim(execRoot)))
}

// RemoveAgentCgroup removes the agent's cgroup, and the parent if it is empty. Both stay while
// monitors run.
func (l Layout) RemoveAgentCgroup(execRoot string) {
	for _, dir := range l.dirs(l.claim(execRoot)) {
		_ = os.Remove(dir)
		_ = os.Remove(filepath.Dir(dir))
	}
}

func (l Layout) claim(execRoot string) string {
	sum := sha256.Sum256([]byte(execRoot))
	return fmt.Sprintf("%s/agent-%s", l.Parent, hex.EncodeToString(sum[:4]))
}
