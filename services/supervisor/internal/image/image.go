// Package image pulls, loads, imports and removes images. It unpacks each layer once and returns
// the layer directories of an image. It mounts nothing and starts nothing; package rootfs mounts.
//
// Package registry downloads, archive reads tar files, layers unpacks, and store keeps the records.
// An image is stored in one transaction when all of its layers exist. A layer is removed when no
// image uses it.
package image

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/layers"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/platform"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/registry"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// Config configures Open.
type Config struct {
	Root  string       // directory for layers, created if it does not exist
	Store *store.Store // image records
	// creates a directory for layers without an image; nil: they stay in place
	Aside              func() (string, error)
	Mirrors            []string       // URLs of mirrors of Docker Hub, in the order to try them
	InsecureRegistries []string       // host[:port] or CIDR of registries allowed to use plain HTTP; loopback always is
	Events             *events.Broker // may be nil
	Log                *slog.Logger   // for events that no caller receives, such as a failed mirror; nil discards
}

// resumeFor is the time for which the complete layers of an interrupted pull are kept.
const resumeFor = 24 * time.Hour

// Images manages the images of a host. It is safe for concurrent use.
type Images struct {
	root   string
	store  *store.Store
	layers *layers.Store
	client atomic.Pointer[registry.Client]
	events *events.Broker
	log    *slog.Logger
}

// Open opens the layer store and removes what interrupted operations left behind.
func Open(_ context.Context, cfg Config) (*Images, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}

	client, err := registry.New(cfg.Mirrors, cfg.InsecureRegistries, cfg.Log)
	if err != nil {
		return nil, err
	}

	ls, err := layers.Open(layers.Config{Dir: filepath.Join(cfg.Root, "layers"), Used: cfg.Store.LayerUsed,
		Aside: cfg.Aside, Keep: resumeFor, Log: cfg.Log})
	if err != nil {
		return nil, err
	}

	m := &Images{root: cfg.Root, store: cfg.Store, layers: ls, events: cfg.Events, log: cfg.Log}
	m.client.Store(client)
	m.removeSpools()
	m.reportMissing()
	return m, nil
}

// UseRegistries sets the mirrors and insecure registries of future pulls.
func (m *Images) UseRegistries(mirrors, insecure []string) error {
	client, err := registry.New(mirrors, insecure, m.log)
	if err != nil {
		return err
	}
	m.client.Store(client)
	return nil
}

// removeSpools removes spooled archives that a crash left before they were unlinked.
func (m *Images) removeSpools() {
	entries, _ := os.ReadDir(m.root)
	for _, e := range entries {
		path := filepath.Join(m.root, e.Name())
		if !strings.HasPrefix(e.Name(), "archive.tmp-") {
			continue
		}
		if err := os.Remove(path); err != nil {
			m.log.Warn("cannot remove stale file", "path", path, "error", err)
		}
	}
}

// reportMissing logs images whose layers another program has removed. They stay in the store, and a
// pull repairs them.
func (m *Images) reportMissing() {
	for _, img := range m.store.ListImages() {
		for _, d := range img.Layers {
			if !m.layers.Has(d) {
				m.log.Warn("layer of an image is missing, pull the image again", "image", img.ID, "tags", img.Tags,
					"layer", d)
			}
		}
	}
}

// Resolve returns the local image with a reference: a name, a digest, an ID or an ID prefix. If
// want is not empty, the image must satisfy that platform. Otherwise an image for the host is
// preferred, then the latest. It performs no I/O.
func (m *Images) Resolve(ref, want string) (*store.Image, error) {
	found, _, err := m.findFor(ref, want)
	if err != nil {
		return nil, err
	}
	return found[max(platform.Best(platformsOf(found), platform.Host()), 0)], nil
}

// Get returns the local image with a reference.
func (m *Images) Get(ref string) (*store.Image, error) { return m.Resolve(ref, "") }

// LayerPaths returns the directories of an image's layers, lowest first.
func (m *Images) LayerPaths(img *store.Image) []string {
	out := make([]string, len(img.Layers))
	for i, d := range img.Layers {
		out[i] = m.layers.Path(d)
	}
	return out
}

// LayerSize returns the unpacked bytes of a layer, 0 for one that was removed meanwhile.
func (m *Images) LayerSize(diffID string) int64 {
	size, _ := m.layers.Size(diffID)
	return size
}

// Containers returns the number of containers that use an image.
func (m *Images) Containers(img *store.Image) int { return m.store.ContainersOfImage(img.ID) }

// Tag adds a name to an image, for each of its platforms. A tag of another image moves.
func (m *Images) Tag(ref, tag string) error {
	name, err := parseTag(tag)
	if err != nil {
		return err
	}
	found, _, err := m.find(ref)
	if err != nil {
		return err
	}

	var ids []string
	for _, img := range found {
		ids = append(ids, img.ID)
	}
	if err := m.store.TagImages(ids, name.String()); err != nil {
		return named(ref, err)
	}

	for _, img := range found {
		m.emit("tag", img.ID, Familiar(name.String()), img)
	}

	return nil
}

// draft is an image whose layers are not unpacked yet.
type draft struct {
	img   *store.Image
	blobs []layers.Blob
	short []string // layer digests in short form
}

// newDraft parses an image's configuration and matches its layers with the blobs of its manifest.
func newDraft(subject, imageID string, config []byte, blobs []layers.Blob) (*draft, error) {
	var c ocispec.Image
	if len(config) > maxConfig {
		return nil, checkBudget(subject, config, &c, len(blobs))
	}

	if err := json.Unmarshal(config, &c); err != nil {
		return nil, fault.New(fault.Invalid, subject, "configuration is not valid", fault.WithCause(err))
	}

	if err := checkBudget(subject, config, &c, len(blobs)); err != nil {
		return nil, err
	}
	if len(c.RootFS.DiffIDs) != len(blobs) {
		return nil, fault.New(fault.Invalid, subject, "configuration and manifest have different numbers of layers")
	}

	p := platform.Platform{OS: c.OS, Arch: c.Architecture, Variant: c.Variant}
	d := &draft{img: &store.Image{ID: imageID, Platform: p.String(), StoredAt: time.Now().UTC(), Config: config},
		blobs: blobs}
	if c.Created != nil {
		d.img.CreatedAt = c.Created.UTC()
	}

	for i, id := range c.RootFS.DiffIDs {
		if !layers.ValidDiffID(id.String()) {
			return nil, fault.New(fault.Invalid, subject,
				"a layer has a diff ID that is not a sha256 digest: "+id.String())
		}
		d.blobs[i].DiffID = id.String()
		d.img.Layers = append(d.img.Layers, id.String())
		label := blobs[i].Digest
		if label == "" {
			label = id.String()
		}
		d.short = append(d.short, layers.Short(label))
	}

	return d, nil
}

// finish applies inherited directory attributes and sums up the size. All layers must exist.
func (m *Images) finish(img *store.Image) error {
	if err := m.layers.Inherit(img.Layers); err != nil {
		return err
	}

	img.Size = 0
	for _, d := range img.Layers {
		size, err := m.layers.Size(d)
		if err != nil {
			return err
		}
		img.Size += size
	}

	return nil
}

// add stores images whose layers all exist.
func (m *Images) add(images ...*store.Image) ([]*store.Image, error) {
	stored, err := m.store.AddImages(images...)
	for _, img := range stored {
		m.layers.Keep(img.Layers...)
	}
	return stored, err
}

// release releases held layers and removes those that no image uses.
func (m *Images) release(diffIDs []string) {
	if _, err := m.layers.Release(m.store.LayerUsed, diffIDs...); err != nil {
		m.log.Warn("unused layers not removed", "error", err)
	}
}
