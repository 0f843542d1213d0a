package image

import (
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/registry"
)

// Limits for one image, which protect memory, the store and listings.
const (
	maxConfig  = registry.MaxConfig // bytes of the configuration document, labels included
	maxLayers  = 500                // the kernel's limit for one overlay mount
	maxPorts   = 4096               // entries in ExposedPorts; a range is one
	maxLabels  = 4096
	maxVolumes = 1024
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
