package cgroup

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
)

// CreateAgentCgroup makes a cgroup for an agent, which is known by its exec root, beside those of its containers. It keeps another agent from removing
// their common parent, and in the v2 hierarchy it is the place for containers' monitors, which are not to be taken for processes of the
// agent; that one is opened, for clone3(2). Where there is no v2 hierarchy the file is nil.
func (l Layout) CreateAgentCgroup(execRoot string) (*os.File, error) {
	for _, dir := range l.dirs(l.claim(execRoot)) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, broken("cannot be made", err, "run the agent as root")
		}
	}
	if l.V2 == "" {
		return nil, nil
	}
	return os.Open(filepath.Join(l.V2, l.claim(execRoot)))
}

// RemoveAgentCgroup removes the agent's cgroup, and the parent if it is the last one. Where monitors still run both stay.
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
