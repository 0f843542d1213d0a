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

	"github.com/fairlead/fairlead/agent/tracing"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/layers"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/platform"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/registry"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

const (
	parallelLayers   = 3 // concurrent downloads of one image
	downloadAttempts = 3
)

// PullRequest describes the image to pull.
type PullRequest struct {
	Reference     string
	Platform      string // os/arch[/variant]; empty means the host's
	Username      string // credentials for the registry in the reference
	Password      string
	IdentityToken string
	Progress      func(Progress) // called by one goroutine at a time; may be nil
}

// Pull downloads an image from its registry, or from a mirror, and stores it. On failure it stores
// no image. Complete layers are kept for a day, so that another pull resumes.
func (m *Images) Pull(ctx context.Context, req PullRequest) (_ *store.Image, err error) {
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

	sources, err := m.client.Load().Sources(ctx, ref,
		registry.Credentials{Username: req.Username, Password: req.Password, IdentityToken: req.IdentityToken})
	if err != nil {
		return nil, err
	}

	report := newReporter(req.Progress)
	defer report.close()
	report.step("pulling", reference.FamiliarString(ref))
	p := &pull{images: m, ref: ref, want: want, report: report}
	defer func() { p.release(err) }()
	mirrors := "" // failures before the last source
	for i, source := range sources {
		img, err := p.from(ctx, source)
		if err == nil {
			m.emit("pull", reference.FamiliarString(ref), reference.FamiliarName(ref), img)
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
		if !fault.Is(err, fault.NotFound) { // a mirror need not have all images
			mirrors += "; registry mirror " + source.Host() + " failed earlier: " + reasonOf(err)
		}
		m.log.Warn("registry mirror failed, trying the next source",
			"mirror", source.Host(), "image", req.Reference, "error", err)
	}

	return nil, fault.New(fault.Internal, registry.Subject(ref), "has no source") // Sources returns at least one
}

// alsoFailed appends the failures of the mirrors to the failure of the last registry.
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

// reasonOf returns the message of an error without its subject, the image.
func reasonOf(err error) string {
	f, ok := errors.AsType[*fault.Fault](err)
	if !ok {
		return err.Error()
	}
	return (&fault.Fault{Message: f.Message, Cause: f.Cause}).Error()
}

// pull is one running pull, from any source.
type pull struct {
	images *Images
	ref    reference.Named
	want   platform.Platform
	report *reporter
	held   []string // layers held until the pull ends
}

// release releases the held layers. After a failure it keeps the complete ones, unless the disk is
// full.
func (p *pull) release(err error) {
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		p.images.layers.Abandon(p.held...)
	} else {
		p.images.release(p.held)
	}
	if _, err := p.images.layers.SweepResumable(p.images.store.LayerUsed, resumeFor); err != nil {
		p.images.log.Warn("layers of interrupted pulls not removed", "error", err)
	}
}

func (p *pull) from(ctx context.Context, source *registry.Source) (_ *store.Image, err error) {
	ctx, span := tracing.Start(ctx, "pull image")
	span.Set("registry", source.Host())
	defer func() { span.End(err) }()
	remote, err := p.fetch(ctx, source)
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
	if err == nil {
		err = setManifest(subject, d.img, remote.ManifestType, remote.Manifest)
	}
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
	p.images.remember(p.ref.Name(), d.img.Layers, remote.Layers)

	return stored[0], nil
}

// fetch fetches the manifest and the configuration.
func (p *pull) fetch(ctx context.Context, source *registry.Source) (_ *registry.Image, err error) {
	ctx, span := tracing.Start(ctx, "fetch manifest")
	defer func() { span.End(err) }()
	return source.Fetch(ctx, p.want)
}

// remember stores which blobs a repository has, for later pushes.
func (m *Images) remember(repository string, diffIDs []string, blobs []registry.Layer) {
	for i, b := range blobs {
		err := m.layers.Remember(diffIDs[i], layers.Known{Digest: b.Digest, Size: b.Size, MediaType: b.MediaType,
			Repository: repository})
		if err != nil {
			m.log.Warn("blob of a layer not recorded", "layer", diffIDs[i], "error", err)
		}
	}
}

// names returns the tags and digests of the pulled image.
func (p *pull) names(digest string) (tags, digests []string) {
	digests = []string{p.ref.Name() + "@" + digest}
	if _, ok := p.ref.(reference.Tagged); ok {
		tags = []string{p.ref.String()}
	}
	return tags, digests
}

// unpack ensures that all layers of an image exist, several concurrently. The caller must hold
// them.
func (m *Images) unpack(ctx context.Context, d *draft, report *reporter) error {
	for i, b := range d.blobs {
		if !m.layers.Has(b.DiffID) {
			report.layer(d.short[i])(layers.Progress{Phase: layers.Waiting, Total: b.Size})
		}
	}

	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelLayers)
	seen := map[string]bool{}
	for i, b := range d.blobs {
		if seen[b.DiffID] { // an image can contain a layer twice
			continue
		}
		seen[b.DiffID] = true
		group.Go(func() error {
			return tracing.Run(gctx, "add layer", func(ctx context.Context) error {
				tracing.Of(ctx).Set("layer.diff_id", b.DiffID)
				return m.layers.Add(ctx, b, report.layer(d.short[i]))
			})
		})
	}

	err := group.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}

	return err
}

// pullFault adds the image to the fault of a layer. Damaged content is a fault of the registry, not
// of the client.
func pullFault(ctx context.Context, subject string, source *registry.Source, err error) error {
	f, ok := errors.AsType[*fault.Fault](err)
	if ctx.Err() != nil || !ok || !strings.HasPrefix(f.Subject, "layer ") {
		return err
	}
	kind, hint := f.Kind, ""
	if kind == fault.Invalid {
		kind, hint = fault.Unavailable, "push the image again: its copy on registry "+source.Host()+" is damaged"
	}
	return fault.New(kind, subject, "cannot be pulled", fault.WithCause(err), fault.WithHint("%s", hint))
}
