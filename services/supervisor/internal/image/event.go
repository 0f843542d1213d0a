package image

import (
	"encoding/json"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// emit emits an event of an image, with its labels. img may be nil.
func (m *Images) emit(action, id, name string, img *store.Image) {
	if m.events == nil {
		return
	}

	attributes := map[string]string{}
	if img != nil {
		var c ocispec.Image
		_ = json.Unmarshal(img.Config, &c) // it was validated when the image was stored
		for k, v := range c.Config.Labels {
			attributes[k] = v
		}
	}
	attributes["name"] = name
	m.events.Emit(events.Image, action, id, attributes)
}
