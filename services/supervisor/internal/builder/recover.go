package builder

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/fairlead/fairlead/services/supervisor/internal/mounts"
)

// Recover ends the steps of a BuildKit that was killed with its agent. It does nothing while BuildKit runs.
func (b *Builder) Recover(ctx context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.process != nil {
		return
	}
	runtime, err := exec.LookPath(b.cfg.Runtime)
	if err != nil { // then nothing was built
		return
	}
	if err := b.endSteps(ctx, runtime); err != nil {
		b.cfg.Log.Warn("steps of an earlier BuildKit cannot be ended", "error", err)
	}
}

// endSteps kills the processes of steps, unmounts their root file systems and deletes their bundles. BuildKit
// has the bundle of a step while it runs. It was stopped or killed before, but can still be ending: bundles and
// mounts may vanish meanwhile.
func (b *Builder) endSteps(ctx context.Context, runtime string) error {
	bundles, err := fs.Glob(os.DirFS(b.root()), "*/executor/*/config.json")
	if err != nil {
		return err
	}

	for _, config := range bundles {
		id := path.Base(path.Dir(config))
		out, err := exec.CommandContext(ctx, runtime, "delete", "--force", id).CombinedOutput()
		if err != nil && ctx.Err() == nil {
			b.cfg.Log.Debug("build step is not deleted", "step", id, "output", strings.TrimSpace(string(out)))
		}
	}

	if err := mounts.DetachUnder(b.root()); err != nil { // files below a mount must not be deleted
		return err
	}
	var errs []error
	for _, config := range bundles {
		errs = append(errs, os.RemoveAll(filepath.Join(b.root(), path.Dir(config))))
	}
	return errors.Join(errs...)
}
