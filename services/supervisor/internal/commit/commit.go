// Package commit creates images from containers. It pauses a running container meanwhile, unless
// asked not to. Package api calls it. Package files writes the layer, package image stores it.
package commit

import (
	"context"
	"io"
	"log/slog"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
	"github.com/fairlead/fairlead/services/supervisor/internal/lives"
	"github.com/fairlead/fairlead/services/supervisor/internal/notices"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// Images is the part of the image store that Commits uses.
type Images interface {
	Resolve(ref, platform string) (*store.Image, error)
	Commit(ctx context.Context, req image.CommitRequest, write func(io.Writer) error) (*store.Image, error)
}

// Files writes layers.
type Files interface {
	WriteLayer(ctx context.Context, c *container.Container, w io.Writer) error
}

// Processes freezes processes of containers.
type Processes interface {
	Pause(ctx context.Context, uid string) error
	Unpause(ctx context.Context, uid string) error
}

// Config holds the dependencies of Commits.
type Config struct {
	Store     *store.Store
	Images    Images
	Files     Files
	Processes Processes
	Lives     *lives.Lives
	Notices   *notices.Notices
	Log       *slog.Logger
}

// Commits creates images from containers.
type Commits struct{ cfg Config }

// New returns Commits.
func New(cfg Config) *Commits { return &Commits{cfg} }

// Request describes a commit.
type Request struct {
	Container string // name, ID or unique ID prefix
	Reference string // the tag; empty for none
	Author    string
	Message   string
	Changes   []string // Dockerfile instructions
	Pause     bool     // freeze the processes meanwhile
}

// Commit creates an image from a container.
func (m *Commits) Commit(ctx context.Context, req Request) (*store.Image, error) {
	c, err := m.cfg.Store.FindContainer(req.Container)
	if err != nil {
		return nil, err
	}
	if err := check(c); err != nil {
		return nil, err
	}
	parent, err := m.cfg.Images.Resolve(c.ImageID, "")
	if err != nil {
		return nil, err
	}
	config, err := configOf(c, parent.Config)
	if err != nil {
		return nil, err
	}

	img, err := m.cfg.Images.Commit(ctx, image.CommitRequest{Parent: parent, Reference: req.Reference, Config: config,
		Changes: req.Changes, Author: req.Author, Message: req.Message, CreatedBy: strings.Join(config.Cmd, " ")},
		func(w io.Writer) error { return m.writeLayer(ctx, c, req.Pause, w) })
	if err != nil {
		return nil, err
	}

	name := ""
	if req.Reference != "" && len(img.Tags) > 0 {
		name = image.Familiar(img.Tags[len(img.Tags)-1])
	}
	m.cfg.Notices.Emit(c, "commit", "comment", req.Message, "imageID", img.ID, "imageRef", name)
	return img, nil
}

func check(c *container.Container) error {
	text := ""
	switch {
	case c.Dead:
		text = "You cannot commit container " + c.ID + " which is Dead"
	case c.Status == container.Removing:
		text = "You cannot commit container " + c.ID + " which is being removed"
	case c.Status == container.Launching:
		text = "it is being created"
	default:
		return nil
	}
	return fault.New(fault.Busy, c.Subject(), text)
}

func (m *Commits) writeLayer(ctx context.Context, c *container.Container, pause bool, w io.Writer) error {
	if pause {
		paused, err := m.pause(ctx, c)
		if err != nil {
			return err
		}
		if paused {
			defer m.unpause(context.WithoutCancel(ctx), c)
		}
	}
	return m.cfg.Files.WriteLayer(ctx, c, w)
}
