package image

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/distribution/reference"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/platform"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

var (
	fullID   = regexp.MustCompile(`^(sha256:)?[0-9a-f]{64}$`)
	idPrefix = regexp.MustCompile(`^(sha256:)?([0-9a-f]{1,64})$`)
)

// Familiar returns the short form of a full reference. That of docker.io/library/nginx:latest is
// nginx:latest.
func Familiar(name string) string {
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name
	}
	return reference.FamiliarString(ref)
}

// parseName parses the name of an image to pull. The default tag is latest; with a digest, the tag
// is ignored.
func parseName(s string) (reference.Named, error) {
	if fullID.MatchString(s) {
		return nil, fault.New(fault.Invalid, subject(s), "is an image ID; a pull needs a name",
			fault.WithField("reference"))
	}
	ref, err := reference.ParseDockerRef(s)
	if err != nil {
		return nil, fault.New(fault.Invalid, subject(s), reason(err), fault.WithField("reference"),
			fault.WithHint("write it like nginx, nginx:1.27 or registry.example:5000/team/app@sha256:…"))
	}
	return ref, nil
}

// reason returns the library's message, which equals Docker's.
func reason(err error) string {
	if errors.Is(err, reference.ErrReferenceInvalidFormat) {
		return "invalid reference format"
	}
	return err.Error()
}

// parseTag parses a new name for an image.
func parseTag(s string) (reference.NamedTagged, error) {
	invalid := func(why string) error {
		return fault.New(fault.Invalid, `tag "`+s+`"`, why, fault.WithField("tag"), fault.WithHint("write it like app:1.0"))
	}
	if fullID.MatchString(s) {
		return nil, invalid("refusing to create a tag that looks like an image id")
	}

	ref, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return nil, invalid(reason(err))
	}

	if _, ok := ref.(reference.Digested); ok {
		return nil, invalid("refusing to create a tag with a digest reference")
	}
	if reference.FamiliarName(ref) == "sha256" {
		return nil, invalid("refusing to create an ambiguous tag")
	}

	return reference.TagNameOnly(ref).(reference.NamedTagged), nil
}

// find returns the images with a reference, and their full name if the reference is a name. A full
// ID takes precedence over a name, a name over an ID prefix. Only a name can have several images,
// one for each platform.
func (m *Images) find(ref string) ([]*store.Image, string, error) {
	if fullID.MatchString(ref) {
		if img, ok := m.store.GetImage("sha256:" + strings.TrimPrefix(ref, "sha256:")); ok {
			return []*store.Image{img}, "", nil
		}
	}

	named, err := reference.ParseDockerRef(ref)
	if err == nil {
		if found := m.store.ImagesByName(named.String()); len(found) > 0 {
			return found, named.String(), nil
		}
	}

	if digits := idPrefix.FindStringSubmatch(ref); digits != nil {
		found := m.store.ImagesByPrefix(digits[2])
		if len(found) == 1 {
			return found, "", nil
		}
		if len(found) > 1 {
			return nil, "", fault.New(fault.Invalid, subject(ref),
				fmt.Sprintf("is ambiguous: %d image IDs have this prefix", len(found)),
				fault.WithField("reference"), fault.WithHint("use more digits of the ID"))
		}
	} else if err != nil {
		return nil, "", fault.New(fault.Invalid, subject(ref), reason(err), fault.WithField("reference"))
	}

	return nil, "", fault.New(fault.NotFound, subject(tagged(ref)), "No such image", fault.WithField("reference"),
		fault.WithReason(fault.ReasonNoSuchImage))
}

// tagged returns a reference with the tag latest if it has neither a tag nor a digest.
func tagged(ref string) string {
	if strings.ContainsAny(ref[strings.LastIndexByte(ref, '/')+1:], ":@") || fullID.MatchString(ref) {
		return ref
	}
	return ref + ":latest"
}

// findFor is like find, and returns only the images for a platform. Empty means all.
func (m *Images) findFor(ref, want string) ([]*store.Image, string, error) {
	found, name, err := m.find(ref)
	if err != nil || want == "" {
		return found, name, err
	}

	p, err := platform.Parse(want)
	if err != nil {
		return nil, "", err
	}

	have := platformsOf(found)
	i := platform.Best(have, p)
	if i < 0 {
		return nil, "", fault.New(fault.NotFound, subject(ref),
			"No such image for "+p.String()+": the local image is for "+list(have),
			fault.WithReason(fault.ReasonNoSuchImage), fault.WithField("platform"))
	}

	return found[i : i+1], name, nil
}

// platformsOf returns the platforms of images. One that is not valid is zero, which matches none.
func platformsOf(all []*store.Image) []platform.Platform {
	out := make([]platform.Platform, len(all))
	for i, img := range all {
		out[i], _ = platform.Parse(img.Platform)
	}
	return out
}

func list(all []platform.Platform) string {
	var names []string
	for _, p := range all {
		names = append(names, p.String())
	}
	return strings.Join(names, ", ")
}

func subject(ref string) string { return `image "` + ref + `"` }

// named replaces the subject of a store fault by the reference of the user.
func named(ref string, err error) error {
	if f, ok := errors.AsType[*fault.Fault](err); ok && strings.HasPrefix(f.Subject, "image ") {
		n := *f
		n.Subject = subject(ref)
		return &n
	}
	return err
}
