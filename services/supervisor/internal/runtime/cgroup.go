package runtime

import (
	"os"
	"path"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/fairlead/fairlead/services/supervisor/internal/cgroup"
)

// parentFile is the file in a bundle with the parent of the container's cgroup. It exists if the
// parent is not the agent's default.
const parentFile = "cgroup-parent"

// recordCgroup stores the parent of a container's cgroup before the runtime creates it.
func (d *Driver) recordCgroup(uid string, spec *specs.Spec) error {
	if spec.Linux == nil || spec.Linux.CgroupsPath == "" {
		return nil
	}
	parent := path.Dir(spec.Linux.CgroupsPath)
	if parent == d.cfg.Cgroup.Parent {
		return nil
	}
	return os.WriteFile(filepath.Join(d.bundle(uid), parentFile), []byte(parent), 0o600)
}

// cgroup returns the layout with the parent of a container's cgroup.
func (d *Driver) cgroup(uid string) cgroup.Layout {
	parent, err := os.ReadFile(filepath.Join(d.bundle(uid), parentFile))
	if err != nil {
		return d.cfg.Cgroup
	}
	return d.cfg.Cgroup.Below(string(parent))
}
