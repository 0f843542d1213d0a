package image

import (
	"context"

	"github.com/fairlead/fairlead/services/supervisor/internal/image/registry"
)

// Credentials authenticate with a registry.
type Credentials = registry.Credentials

// Remote describes an image in a registry.
type Remote = registry.Remote

// Found is a repository found by Search.
type Found = registry.Found

// Describe asks the registry of a reference for the digest and the platforms of an image.
func (m *Images) Describe(ctx context.Context, ref string, cred Credentials) (*Remote, error) {
	named, err := parseName(ref)
	if err != nil {
		return nil, err
	}
	sources, err := m.client.Load().Sources(ctx, named, cred)
	if err != nil {
		return nil, err
	}

	var failure error
	for _, s := range sources {
		found, err := s.Describe(ctx)
		if err == nil {
			return found, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		failure = err
	}

	return nil, failure
}

// Search searches a registry for repositories.
func (m *Images) Search(ctx context.Context, term string, limit int, cred Credentials) ([]Found,
	error) {
	return m.client.Load().Search(ctx, term, limit, cred)
}

// CheckCredentials verifies credentials with a registry.
func (m *Images) CheckCredentials(ctx context.Context, server string, cred Credentials) error {
	return m.client.Load().Check(ctx, server, cred)
}
