package image

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/distribution/reference"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

var (
	fullID   = regexp.MustCompile(`^(sha256:)?[0-9a-f]{64}$`)
	idPrefix = regexp.MustCompile(`^(sha256:)?([0-9a-f]{1,64})$`)
)

// Familiar is a full reference in the short form that people write: nginx:latest for docker.io/library/nginx:latest.
func Familiar(name string) string {
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name
	}
	return reference.FamiliarString(ref)
}

// parseName reads the name of an image to fetch. No tag means latest; with a digest a tag says nothing.
func parseName(s string) (reference.Named, error) {
	if fullID.MatchString(s) {
		return nil, fault.New(fault.Invalid, subject(s), "is an image id, not a name that a registry knows", fault.WithField("reference"))
	}
	ref, err := reference.ParseDockerRef(s)
	if err != nil {
		return nil, fault.New(fault.Invalid, subject(s), reason(err), fault.WithField("reference"),
			fault.WithHint("write it like nginx, nginx:1.27 or registry.example:5000/team/app@sha256:…"))
	}
	return ref, nil
}

// reason is the library's message, which Docker's users know.
func reason(err error) string {
	if errors.Is(err, reference.ErrReferenceInvalidFormat) {
		return "invalid reference format"
	}
	return err.Error()
}

// parseTag reads a name to give to an image.
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

// find gives the image that a reference means, and the full name if it was named by one: a full id before a name before the
// start of an id.
func (m *Images) find(ref string) (*store.Image, string, error) {
	if fullID.MatchString(ref) {
		if img, ok := m.store.GetImage("sha256:" + strings.TrimPrefix(ref, "sha256:")); ok {
			return img, "", nil
		}
	}
	named, err := reference.ParseDockerRef(ref)
	if err == nil {
		if img, ok := m.store.ImageByName(named.String()); ok {
			return img, named.String(), nil
		}
	}
	if digits := idPrefix.FindStringSubmatch(ref); digits != nil {
		found := m.store.ImagesByPrefix(digits[2])
		if len(found) == 1 {
			return found[0], "", nil
		}
		if len(found) > 1 {
			return nil, "", fault.New(fault.Invalid, subject(ref), fmt.Sprintf("%d images' ids start like that", len(found)),
				fault.WithField("reference"), fault.WithHint("give more digits"))
		}
	} else if err != nil {
		return nil, "", fault.New(fault.Invalid, subject(ref), reason(err), fault.WithField("reference"))
	}
	return nil, "", fault.New(fault.NotFound, subject(ref), "No such image", fault.WithField("reference"),
		fault.WithReason(fault.ReasonNoSuchImage))
}

func subject(ref string) string { return `image "` + ref + `"` }

// named makes a fault of the store's be about what the user wrote.
func named(ref string, err error) error {
	if f, ok := errors.AsType[*fault.Fault](err); ok && strings.HasPrefix(f.Subject, "image ") {
		n := *f
		n.Subject = subject(ref)
		return &n
	}
	return err
}
