package archive

import (
	"fmt"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/registry"
)

// savedImage is an entry in the manifest.json of `docker save`.
type savedImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func (a *Archive) saved() ([]Image, error) {
	var list []savedImage
	if _, err := a.document("manifest.json", &list, maxDocument); err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fault.New(fault.Invalid, subject, "contains no image")
	}
	if len(list) > maxImages {
		return nil, tooMany(len(list))
	}

	var out []Image
	for _, s := range list {
		config, err := a.document(s.Config, &struct{}{}, registry.MaxConfig)
		if err != nil {
			return nil, err
		}
		img := Image{Names: s.RepoTags, Config: config, ID: digestOf(config)}
		for _, name := range s.Layers {
			l, err := a.layer(name, "") // the file name is arbitrary; the diff IDs are verified later
			if err != nil {
				return nil, err
			}
			img.Layers = append(img.Layers, l)
		}
		out = append(out, img)
	}

	return out, nil
}

func tooMany(images int) error {
	return fault.New(fault.Invalid, subject, fmt.Sprintf("contains %d images, at most %d are supported", images,
		maxImages),
		fault.WithHint("split the images into several archives"))
}
