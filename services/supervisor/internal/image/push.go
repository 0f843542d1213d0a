package image

import (
	"context"
	"slices"

	"github.com/distribution/reference"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/registry"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

const (
	uploadAttempts = 3
	maxMounts      = 8 // repositories that blobs are mounted from in one push
)

// PushRequest describes the image to push.
type PushRequest struct {
	Reference   string // NAME[:TAG]
	Platform    string // os/arch[/variant]; empty means all that are stored
	AllTags     bool   // push all tags of the repository
	Credentials Credentials
	Progress    func(Progress) // called by one goroutine at a time; may be nil
	Pushed      func(Pushed)   // called for each tag; may be nil
}

// Pushed is a tag in a registry.
type Pushed struct {
	Reference string // short form
	Digest    string // of the manifest or index
	Size      int64  // of the manifest or index
}

// Push uploads an image to the registry in its name. Layers that the registry has are not uploaded;
// layers that an interrupted push has completed are among them.
func (m *Images) Push(ctx context.Context, req PushRequest) error {
	tags, err := m.pushTags(req)
	if err != nil {
		return err
	}

	report := newReporter(req.Progress)
	defer report.close()
	for _, tag := range tags {
		done, err := m.pushTag(ctx, tag, req, report)
		if err != nil {
			return err
		}
		if req.Pushed != nil {
			report.wait()
			req.Pushed(*done)
		}
	}

	return nil
}

// pushTags returns the tags to push.
func (m *Images) pushTags(req PushRequest) ([]reference.NamedTagged, error) {
	if !req.AllTags {
		tag, err := parseTag(req.Reference)
		if err != nil {
			return nil, err
		}
		return []reference.NamedTagged{tag}, nil
	}

	var out []reference.NamedTagged
	for _, name := range m.tagsOf(req.Reference) {
		tag, err := parseTag(name)
		if err != nil {
			return nil, err
		}
		out = append(out, tag)
	}
	if len(out) == 0 {
		return nil, fault.New(fault.NotFound, subject(req.Reference),
			"An image does not exist locally with the tag: "+req.Reference, fault.WithReason(fault.ReasonNoSuchImage))
	}

	return out, nil
}

func (m *Images) pushTag(ctx context.Context, tag reference.NamedTagged, req PushRequest,
	report *reporter) (*Pushed, error) {
	found, _, err := m.findFor(tag.String(), req.Platform)
	if fault.Is(err, fault.NotFound) && req.Platform == "" {
		return nil, fault.New(fault.NotFound, subject(reference.FamiliarString(tag)),
			"An image does not exist locally with the tag: "+reference.FamiliarName(tag),
			fault.WithReason(fault.ReasonNoSuchImage))
	}
	if err != nil {
		return nil, err
	}

	var held []string
	for _, img := range found {
		held = append(held, img.Layers...)
	}
	m.layers.Hold(held...)
	defer m.release(held)

	p := &push{images: m, tag: tag, report: report}
	p.to, err = m.client.Load().Target(ctx, tag, req.Credentials, p.mounts(held))
	if err != nil {
		return nil, err
	}

	return p.run(ctx, found)
}

// push is one running push of a tag.
type push struct {
	images *Images
	tag    reference.NamedTagged
	to     *registry.Target
	report *reporter
}

func (p *push) run(ctx context.Context, found []*store.Image) (*Pushed, error) {
	var manifests []pushedManifest
	for _, img := range found {
		at := p.tag.Tag()
		if len(found) > 1 {
			at = ""
		}
		done, err := p.image(ctx, img, at)
		if err != nil {
			return nil, err
		}
		manifests = append(manifests, *done)
	}

	top := manifests[0]
	if len(found) > 1 {
		index, err := indexOf(manifests)
		if err == nil {
			err = p.to.PutManifest(ctx, p.tag.Tag(), index.mediaType, index.data)
		}
		if err != nil {
			return nil, err
		}
		top = *index
	}

	for i, img := range found {
		err := p.images.store.UpdateImage(img.ID, func(n *store.Image) {
			n.Manifest, n.ManifestType = manifests[i].data, manifests[i].mediaType
			if d := p.tag.Name() + "@" + top.digest(); !slices.Contains(n.Digests, d) {
				n.Digests = append(n.Digests, d)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	p.images.emit("push", reference.FamiliarString(p.tag), reference.FamiliarName(p.tag), found[0])

	return &Pushed{Reference: reference.FamiliarString(p.tag), Digest: top.digest(), Size: int64(len(top.data))}, nil
}

// image uploads the layers and the configuration of an image, and its manifest to a tag, or to its
// digest without one.
func (p *push) image(ctx context.Context, img *store.Image, tag string) (*pushedManifest, error) {
	blobs, err := p.layers(ctx, img)
	if err != nil {
		return nil, err
	}

	_, ok, err := p.to.HasBlob(ctx, img.ID)
	if err == nil && !ok {
		err = p.to.UploadDocument(ctx, img.ID, img.Config)
	}
	if err != nil {
		return nil, err
	}

	out, err := manifestOf(img, blobs)
	if err != nil {
		return nil, err
	}
	if tag == "" {
		tag = out.digest()
	}

	return out, p.to.PutManifest(ctx, tag, out.mediaType, out.data)
}
