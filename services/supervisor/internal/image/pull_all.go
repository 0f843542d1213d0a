package image

import (
	"context"

	"github.com/distribution/reference"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/registry"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// PullAll pulls all tags of a repository and calls each with each image. It stops at the first failure.
func (m *Images) PullAll(ctx context.Context, req PullRequest, each func(*store.Image) error) error {
	named, err := reference.ParseNormalizedNamed(req.Reference)
	if err != nil || fullID.MatchString(req.Reference) {
		_, err := parseName(req.Reference) // with the better message
		return err
	}
	if !reference.IsNameOnly(named) {
		return fault.Invalidf(subject(req.Reference), "reference", "tag can't be used with --all-tags/-a")
	}

	tags, err := m.tagsAt(ctx, named, req)
	if err != nil {
		return err
	}
	for _, tag := range tags {
		tagged, err := reference.WithTag(named, tag)
		if err != nil {
			return fault.New(fault.Invalid, registry.Subject(named), "has an invalid tag", fault.WithCause(err))
		}
		one := req
		one.Reference = tagged.String()
		img, err := m.Pull(ctx, one)
		if err == nil {
			err = each(img)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tagsAt returns the tags of a repository at the first source that has it.
func (m *Images) tagsAt(ctx context.Context, named reference.Named, req PullRequest) ([]string, error) {
	sources, err := m.client.Load().Sources(ctx, named,
		registry.Credentials{Username: req.Username, Password: req.Password, IdentityToken: req.IdentityToken})
	if err != nil {
		return nil, err
	}
	for _, source := range sources {
		var tags []string
		if tags, err = source.Tags(ctx); err == nil && len(tags) > 0 {
			return tags, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	if err == nil {
		err = fault.New(fault.NotFound, registry.Subject(named), "has no tags")
	}
	return nil, err
}
