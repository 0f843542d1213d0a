package cli

import (
	"context"

	"github.com/fairlead/fairlead/ctl/internal/registryauth"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// Credentials returns the credentials for the registry of an image, or nil. A credential helper is
// slow and is called only if needed returns true. A failure is a warning, because most pulls need
// no credentials.
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

// StoredCredentials returns the stored credentials for a registry, or nil.
func (c *CLI) StoredCredentials(ctx context.Context, server string) (*containerv1.Credentials, error) {
	return c.credentials(ctx, server, func() bool { return true })
}

// StoreCredentials stores credentials for a registry. The path is that of the file if it holds the
// password.
func (c *CLI) StoreCredentials(ctx context.Context, server string, cred *containerv1.Credentials) (path string,
	err error) {
	config, err := registryauth.Open(registryauth.Dir(c.LookupEnv))
	if err != nil {
		return "", err
	}
	return config.Store(ctx, server, cred)
}

// EraseCredentials removes the stored credentials for a registry.
func (c *CLI) EraseCredentials(ctx context.Context, server string) error {
	config, err := registryauth.Open(registryauth.Dir(c.LookupEnv))
	if err != nil {
		return err
	}
	return config.Erase(ctx, server)
}
