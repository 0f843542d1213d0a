package image

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/fairlead/fairlead/services/supervisor/internal/image/change"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/platform"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// ImportRequest describes the image to create from a root file system.
type ImportRequest struct {
	Reference string   // the tag; empty for none
	Changes   []string // Dockerfile instructions
	Platform  string   // os/arch[/variant]; empty means the host's
	Message   string   // comment in the history; empty means a description of the import
}

// Import creates a one-layer image from a root file system in a tar archive.
func (m *Images) Import(ctx context.Context, req ImportRequest, in io.Reader) (*store.Image, error) {
	config, tags, err := importConfig(req)
	if err != nil {
		return nil, err
	}
	var inherited change.Config
	if err := change.Apply(&inherited, req.Changes); err != nil {
		return nil, err
	}

	diffID, err := m.layers.AddArchive(ctx, in)
	if err != nil {
		return nil, err
	}
	defer m.release([]string{diffID})
	config.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.Digest(diffID)}}
	config.Config = inherited.ImageConfig
	data, err := json.Marshal(struct {
		*ocispec.Image
		Config change.Config `json:"config"`
	}{config, inherited})
	if err != nil {
		return nil, err
	}

	if err := checkBudget("image", data, config, 1); err != nil {
		return nil, err
	}

	sum := sha256.Sum256(data)
	p := platform.Platform{OS: config.OS, Arch: config.Architecture, Variant: config.Variant}
	img := &store.Image{ID: "sha256:" + hex.EncodeToString(sum[:]), Tags: tags, Layers: []string{diffID},
		Platform: p.String(), CreatedAt: *config.Created, StoredAt: *config.Created, Config: data}
	if err := m.finish(img); err != nil {
		return nil, err
	}

	stored, err := m.add(img)
	if err != nil {
		return nil, err
	}

	name := stored[0].ID
	if len(tags) > 0 {
		name = Familiar(tags[0])
	}
	m.emit("import", stored[0].ID, name, stored[0])

	return stored[0], nil
}

// importConfig returns the configuration without the layer, and the tags.
func importConfig(req ImportRequest) (*ocispec.Image, []string, error) {
	var tags []string
	if req.Reference != "" {
		tag, err := parseTag(req.Reference)
		if err != nil {
			return nil, nil, err
		}
		tags = []string{tag.String()}
	}

	p := platform.Host()
	if req.Platform != "" {
		var err error
		if p, err = platform.Parse(req.Platform); err != nil {
			return nil, nil, err
		}
	}

	now := time.Now().UTC()
	c := &ocispec.Image{Created: &now, History: []ocispec.History{{Created: &now,
		Comment: cmp.Or(req.Message, "Imported from a tar archive")}}}
	c.OS, c.Architecture, c.Variant = p.OS, p.Arch, p.Variant
	return c, tags, nil
}
