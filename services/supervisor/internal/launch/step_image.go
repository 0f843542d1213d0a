package launch

import (
	"context"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// resolveImage finds or pulls the image and merges the configurations. Undo keeps a pulled image.
func (l *launch) resolveImage() saga.Step {
	return saga.Step{
		Name: resolveImage, After: []string{reserveName},
		Do: func(ctx context.Context) error {
			img, err := l.findImage(ctx)
			if err != nil {
				return err
			}
			defaults, err := container.ParseImageConfig(img.Config)
			if err != nil {
				return err
			}
			l.image = img
			l.req.Config.Mounts = withVolumes(l.req.Config.Mounts, defaults)
			l.process, err = container.ProcessOf(&l.req.Config, defaults)
			return err
		},
	}
}

func (l *launch) findImage(ctx context.Context) (*store.Image, error) {
	cfg := &l.req.Config
	if cfg.Pull != container.PullAlways {
		img, err := l.r.Images.Resolve(cfg.Image, cfg.Platform)
		if err == nil || cfg.Pull == container.PullNever || !fault.Is(err, fault.NotFound) {
			return img, err
		}
	}
	cred := l.req.Credentials
	return l.r.Images.Pull(ctx,
		image.PullRequest{Reference: cfg.Image, Platform: cfg.Platform, Progress: l.req.Progress,
			Username: cred.Username, Password: cred.Password, IdentityToken: cred.IdentityToken})
}
