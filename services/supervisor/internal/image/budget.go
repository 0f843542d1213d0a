package image

import (
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/registry"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// Limits for one image, which protect memory, the store and listings.
const (
	maxConfig   = registry.MaxConfig // bytes of the configuration document, labels included
	maxManifest = registry.MaxConfig // bytes of the manifest, annotations included
	maxLayers   = 500                // the kernel's limit for one overlay mount
	maxPorts    = 4096               // entries in ExposedPorts; a range is one
	maxLabels   = 4096
	maxVolumes  = 1024
)

// checkBudget returns a fault if an image exceeds a limit.
func checkBudget(subject string, document []byte, c *ocispec.Image, layers int) error {
	for _, limit := range []struct {
		what, field string
		got, max    int
	}{
		{"bytes of configuration", "config", len(document), maxConfig},
		{"layers", "layers", max(layers, len(c.RootFS.DiffIDs)), maxLayers},
		{"exposed ports", "expose", len(c.Config.ExposedPorts), maxPorts},
		{"labels", "label", len(c.Config.Labels), maxLabels},
		{"volumes", "volume", len(c.Config.Volumes), maxVolumes},
	} {
		if limit.got > limit.max {
			return fault.Invalidf(subject, limit.field, "has %d %s, at most %d are supported",
				limit.got, limit.what, limit.max)
		}
	}

	return nil
}

// setManifest stores the manifest in an image. It returns a fault if the manifest is too large.
func setManifest(subject string, img *store.Image, mediaType string, manifest []byte) error {
	if len(manifest) > maxManifest {
		return fault.Invalidf(subject, "manifest", "has %d bytes of manifest, at most %d are supported",
			len(manifest), maxManifest)
	}
	img.Manifest, img.ManifestType = manifest, mediaType
	return nil
}
