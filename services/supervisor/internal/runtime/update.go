package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/fairlead/fairlead/proto/fault"
)

// Update changes the cgroup limits of a running container.
func (d *Driver) Update(ctx context.Context, uid string, limits *specs.LinuxResources) error {
	c, err := d.running(uid)
	if err != nil {
		return err
	}

	text, err := json.Marshal(limits)
	if err != nil {
		return err
	}

	file := filepath.Join(d.bundle(uid), "update.json")
	defer func() { _ = os.Remove(file) }()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return fault.Wrap(err, fault.Unavailable, subject(uid), "cannot be updated")
	}

	out, err := exec.CommandContext(ctx, c.runtime.Path, "--root", d.ociRoot(), "update", "--resources", file,
		uid).CombinedOutput()
	if err != nil {
		return fault.New(fault.Invalid, subject(uid), "the kernel rejects the limits",
			fault.WithCause(errors.Join(err, errors.New(string(out)))))
	}

	return nil
}
