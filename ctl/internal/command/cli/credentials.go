package cli

import (
	"context"

	"github.com/fairlead/fairlead/ctl/internal/registryauth"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// Credentials finds what to show the registry that an image comes from, nil if there is nothing. A credential helper is a
// program that takes its time: it is only asked if needed answers true. What cannot be found out is a warning, as most pulls
// need no credentials.
func (c *CLI) Credentials(ctx context.Context, image string, needed func() bool) *containerv1.Credentials {
	found, err := c.credentials(ctx, registryauth.Registry(image), needed)
	if err != nil {
		c.Warn(oneLine(err))
		return nil
	}
	return found
}

func (c *CLI) credentials(ctx context.Context, registry string, needed func() bool) (*containerv1.Credentials, error) {
	config, err := registryauth.Open(registryauth.Dir(c.LookupEnv))
	if err != nil {
		return nil, err
	}
	helper := config.Helper(registry)
	if helper == "" {
		return config.Stored(registry)
	}
	if !needed() {
		return nil, nil
	}
	return registryauth.Ask(ctx, helper, registry)
}
