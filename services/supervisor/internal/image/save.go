package image

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/archive"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/platform"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// Save writes images to a tar archive. A name without a tag means all tags of the repository; an ID
// saves the image without names. Without a platform, all platforms of a name are saved. Nothing is
// written if an image cannot be saved.
func (m *Images) Save(ctx context.Context, refs []string, platform string, out io.Writer) error {
	s := &selection{images: m, platform: platform, byID: map[string]*archive.Saved{}}
	for _, ref := range refs {
		if err := s.add(ref); err != nil {
			return err
		}
	}
	if len(s.stored) == 0 {
		return fault.Invalidf("save", "references", "needs at least one image")
	}

	var held []string
	for _, img := range s.stored {
		held = append(held, img.Layers...)
	}
	m.layers.Hold(held...)
	defer m.release(held)
	if err := s.measure(); err != nil {
		return err
	}

	s.chooseTags()
	if err := archive.Write(ctx, out, s.saved, m.layers.Tar); err != nil {
		return err
	}
	for _, img := range s.stored {
		m.emit("save", img.ID, img.ID, img)
	}

	return nil
}

// selection is the set of images to save, in the order of the request.
type selection struct {
	images   *Images
	platform string
	stored   []*store.Image
	saved    []*archive.Saved
	byID     map[string]*archive.Saved
}

// add adds the images of a reference.
func (s *selection) add(ref string) error {
	if tags := s.images.tagsOf(ref); len(tags) > 0 {
		for _, tag := range tags {
			if err := s.one(tag); err != nil {
				return err
			}
		}
		return nil
	}
	return s.one(ref)
}

// tagsOf returns the tags of a repository, if a reference is the name of one.
func (m *Images) tagsOf(ref string) []string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil || !reference.IsNameOnly(named) || fullID.MatchString(ref) {
		return nil
	}

	var tags []string
	for _, img := range m.store.ListImages() {
		for _, tag := range img.Tags {
			if strings.HasPrefix(tag, named.Name()+":") && !slices.Contains(tags, tag) {
				tags = append(tags, tag)
			}
		}
	}
	slices.Sort(tags)

	return tags
}

func (s *selection) one(ref string) error {
	found, name, err := s.images.findFor(ref, s.platform)
	if err != nil {
		return err
	}

	for _, img := range found {
		out := s.byID[img.ID]
		if out == nil {
			p, _ := platform.Parse(img.Platform)
			out = &archive.Saved{ID: img.ID, Config: img.Config, Manifest: img.Manifest,
				Platform: ocispec.Platform{OS: p.OS, Architecture: p.Arch, Variant: p.Variant}}
			s.byID[img.ID] = out
			s.saved, s.stored = append(s.saved, out), append(s.stored, img)
		}
		if name != "" && !strings.Contains(name, "@") && !slices.Contains(out.Names, name) {
			out.Names = append(out.Names, name)
		}
	}

	return nil
}

// measure adds the layers with their sizes. It fails for a layer whose archive cannot be written.
func (s *selection) measure() error {
	for i, img := range s.stored {
		for _, d := range img.Layers {
			size, err := s.images.layers.TarSize(d)
			if err != nil {
				return cannot(subject(Familiar(firstName(img))), "be saved", err)
			}
			s.saved[i].Layers = append(s.saved[i].Layers, archive.SavedLayer{DiffID: d, Size: size})
		}
	}
	return nil
}

// cannot adds the image to the fault of a layer.
func cannot(subject, what string, err error) error {
	return fault.New(fault.KindOf(err), subject, "cannot "+what, fault.WithCause(err))
}

// firstName returns a name of an image, or its ID.
func firstName(img *store.Image) string {
	return append(slices.Clone(img.Tags), img.ID)[0]
}

// chooseTags selects the platform of each name for programs that know one only: the host's, or the
// latest.
func (s *selection) chooseTags() {
	owner := map[string]int{}
	for i, out := range s.saved {
		for _, n := range out.Names {
			before, seen := owner[n]
			if p, _ := platform.Parse(s.stored[i].Platform); !seen || p.Satisfies(platform.Host()) &&
				s.stored[before].Platform != s.stored[i].Platform {
				owner[n] = i
			}
		}
	}
	for i, out := range s.saved {
		for _, n := range out.Names {
			if owner[n] == i {
				out.RepoTags = append(out.RepoTags, Familiar(n))
			}
		}
	}
}
