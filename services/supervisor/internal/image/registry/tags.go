package registry

import (
	"context"
	"slices"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/fairlead/fairlead/proto/fault"
)

// Tags returns the sorted tags of the repository.
func (s *Source) Tags(ctx context.Context) ([]string, error) {
	puller, err := remote.NewPuller(s.options()...)
	if err != nil {
		return nil, fault.New(fault.Internal, Subject(s.ref), "cannot be requested", fault.WithCause(err))
	}
	tags, err := puller.List(ctx, s.repo)
	if err != nil {
		return nil, s.fault(ctx, err)
	}
	slices.Sort(tags)
	return tags, nil
}
