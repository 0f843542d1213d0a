package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/distribution/reference"
	"golang.org/x/sync/errgroup"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/layers"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/platform"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/registry"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

const (
	layersAtOnce     = 3 // downloads of one image
	downloadAttempts = 3
)

// PullRequest says what to fetch.
type PullRequest struct {
	Reference     string
	Platform      string // os/arch[/variant]; empty means the host's
	Username      string // credentials for the registry that the reference names
	Password      string
	IdentityToken string
	Progress      func(Progress) // called by one goroutine at a time; may be nil
}

// Pull fetches an image from its registry, or from a mirror, and stores it. If it fails, it leaves nothing behind.
func (m *Images) Pull(ctx context.Context, req PullRequest) (*store.Image, error) {
	ref, err := parseName(req.Reference)
	if err != nil {
		return nil, err
	}
	var want platform.Platform
	if req.Platform != "" {
		if want, err = platform.Parse(req.Platform); err != nil {
			return nil, err
		}
	}
	sources, err := m.client.Load().Sources(ctx, ref, registry.Credentials{Username: req.Username, Password: req.Password, IdentityToken: req.IdentityToken})
	if err != nil {
		return nil, err
	}
	report := newReporter(req.Progress)
	defer report.close()
	report.step("pulling", reference.FamiliarString(ref))
	p := &pull{images: m, ref: ref, want: want, report: report}
	defer func() { m.release(p.held) }()
	mirrors := "" // what failed before the last source
	for i, source := range sources {
		img, err := p.from(ctx, source)
		if err == nil {
			return img, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, syscall.ENOSPC) {
			return nil, err
		}
		if i == len(sources)-1 {
			return nil, alsoFailed(err, mirrors)
		}
		if !fault.Is(err, fault.NotFound) { // that a mirror has not everything is no failure
			mirrors += "; registry mirror " + source.Host() + " failed before: " + reasonOf(err)
		}
		m.log.Warn("a registry mirror failed; the next one is tried", "mirror", source.Host(), "image", req.Reference, "error", err)
	}
	return nil, fault.New(fault.Internal, registry.Subject(ref), "there is no registry to ask") // Sources gives at least one
}

// alsoFailed adds to the failure of the last registry those of the mirrors, of which the user must know, too.
func alsoFailed(err error, mirrors string) error {
	f, ok := errors.AsType[*fault.Fault](err)
	if mirrors == "" || !ok {
		return err
	}
	both := *f
	if f.Cause == nil {
		both.Message += mirrors
	} else {
		both.Cause = fmt.Errorf("%w%s", f.Cause, mirrors)
	}
	return &both
}

// reasonOf is what went wrong, without the image, which is known.
func reasonOf(err error) string {
	f, ok := errors.AsType[*fault.Fault](err)
	if !ok {
		return err.Error()
	}
	return (&fault.Fault{Message: f.Message, Cause: f.Cause}).Error()
}

// pull is one image on its way, from whichever source.
type pull struct {
	images *Images
	ref    reference.Named
	want   platform.Platform
	report *reporter
	held   []string // layers that are held until the pull is over
}

func (p *pull) from(ctx context.Context, source *registry.Source) (*store.Image, error) {
	remote, err := source.Fetch(ctx, p.want)
	if err != nil {
		return nil, err
	}
	subject := registry.Subject(p.ref)
	blobs := make([]layers.Blob, len(remote.Layers))
	for i, l := range remote.Layers {
		blobs[i] = layers.Blob{Digest: l.Digest, Size: l.Size, Attempts: downloadAttempts,
			Open: func(ctx context.Context) (io.ReadCloser, error) { return remote.Open(ctx, l) }}
	}
	d, err := newDraft(subject, remote.ID, remote.Config, blobs)
	if err != nil {
		return nil, err
	}
	p.images.layers.Hold(d.img.Layers...)
	p.held = append(p.held, d.img.Layers...)
	if err := p.images.unpack(ctx, d, p.report); err != nil {
		return nil, pullFault(ctx, subject, source, err)
	}
	if err := p.images.finish(d.img); err != nil {
		return nil, err
	}
	d.img.Tags, d.img.Digests = p.names(remote.Digest)
	stored, err := p.images.add(d.img)
	if err != nil {
		return nil, err
	}
	return stored[0], nil
}

// names are what the image is called from now on.
func (p *pull) names(digest string) (tags, digests []string) {
	digests = []string{p.ref.Name() + "@" + digest}
	if _, ok := p.ref.(reference.Tagged); ok {
		tags = []string{p.ref.String()}
	}
	return tags, digests
}

// unpack makes sure that all of an image's layers are there, several at a time. The caller holds them.
func (m *Images) unpack(ctx context.Context, d *draft, report *reporter) error {
	for i, b := range d.blobs {
		if !m.layers.Has(b.DiffID) {
			report.layer(d.short[i])(layers.Progress{Phase: layers.Waiting, Total: b.Size})
		}
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(layersAtOnce)
	seen := map[string]bool{}
	for i, b := range d.blobs {
		if seen[b.DiffID] { // an image may have the same layer twice
			continue
		}
		seen[b.DiffID] = true
		group.Go(func() error { return m.layers.Add(gctx, b, report.layer(d.short[i])) })
	}
	err := group.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// pullFault says of which image a layer failed. What is wrong with a layer's content is the registry's doing, not the asker's.
func pullFault(ctx context.Context, subject string, source *registry.Source, err error) error {
	f, ok := errors.AsType[*fault.Fault](err)
	if ctx.Err() != nil || !ok || !strings.HasPrefix(f.Subject, "layer ") {
		return err
	}
	kind, hint := f.Kind, ""
	if kind == fault.Invalid {
		kind, hint = fault.Unavailable, "registry "+source.Host()+" has a damaged image; push it there again"
	}
	return fault.New(kind, subject, "cannot be pulled", fault.WithCause(err), fault.WithHint("%s", hint))
}
