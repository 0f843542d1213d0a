package api

import (
	"context"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/commit"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// Commits is the part of package commit that the handlers use.
type Commits interface {
	Commit(ctx context.Context, req commit.Request) (*store.Image, error)
}

// CommitContainer implements ImageServiceServer.
func (s *imageServer) CommitContainer(ctx context.Context,
	req *containerv1.CommitContainerRequest) (*containerv1.CommitContainerResponse, error) {
	img, err := s.commits.Commit(ctx, commit.Request{Container: req.GetContainer(), Reference: req.GetReference(),
		Author: req.GetAuthor(), Message: req.GetMessage(), Changes: req.GetChanges(), Pause: !req.GetNoPause()})
	if err != nil {
		return nil, err
	}
	return &containerv1.CommitContainerResponse{Image: imageToProto(img)}, nil
}
