// Package image keeps images: it pulls, loads and imports them, unpacks their layers once each, and says which folders make up
// an image's root file system. It mounts nothing and starts nothing; package rootfs mounts.
//
// What belongs together: package registry fetches, archive reads tar files, layers unpacks, and store remembers. An image is
// stored only when all of its layers are there, in one transaction, and a layer goes only when no image has it.
package image

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/layers"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/platform"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/registry"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// Config is what Open needs.
type Config struct {
	Root               string                 // the folder for layers, made if it is not there
	Store              *store.Store           // where images are remembered
	Aside              func() (string, error) // creates a directory for layers that no image has; nil: they are left where they are
	Mirrors            []string               // URLs of mirrors of Docker Hub, in the order to try them
	InsecureRegistries []string               // host[:port] or CIDR that may be spoken to in plain HTTP; loopback always may
	Log                *slog.Logger           // for what is no caller's error: a mirror that fails, a layer that is missing; nil drops it
}

// Images is the images of a host. It is safe for concurrent use.
type Images struct {
	root   string
	store  *store.Store
	layers *layers.Store
	client atomic.Pointer[registry.Client]
	log    *slog.Logger
}

// Open opens the layers, and removes what is left of work that was cut off.
func Open(_ context.Context, cfg Config) (*Images, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	client, err := registry.New(cfg.Mirrors, cfg.InsecureRegistries, cfg.Log)
	if err != nil {
		return nil, err
	}
	ls, err := layers.Open(layers.Config{Dir: filepath.Join(cfg.Root, "layers"), Used: cfg.Store.LayerUsed, Aside: cfg.Aside, Log: cfg.Log})
	if err != nil {
		return nil, err
	}
	m := &Images{root: cfg.Root, store: cfg.Store, layers: ls, log: cfg.Log}
	m.client.Store(client)
	m.removeSpools()
	m.reportMissing()
	return m, nil
}

// UseRegistries changes the mirrors and the insecure registries of pulls that begin from now on.
func (m *Images) UseRegistries(mirrors, insecure []string) error {
	client, err := registry.New(mirrors, insecure, m.log)
	if err != nil {
		return err
	}
	m.client.Store(client)
	return nil
}

// removeSpools removes archives that a crash left in the moment between their making and their unlinking.
func (m *Images) removeSpools() {
	left, _ := filepath.Glob(filepath.Join(m.root, "archive.tmp-*"))
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			m.log.Warn("a leftover cannot be removed", "path", path, "error", err)
		}
	}
}

// reportMissing tells of images whose layers someone took away. They stay known, and pulling them again repairs them.
func (m *Images) reportMissing() {
	for _, img := range m.store.ListImages() {
		for _, d := range img.Layers {
			if !m.layers.Has(d) {
				m.log.Warn("a layer of an image is missing; pull the image again", "image", img.ID, "tags", img.Tags, "layer", d)
			}
		}
	}
}

// Resolve gives the image that a reference means, if it is here: a name, a digest, an id or the start of one. A platform
// must fit, if one is given. It reads memory only.
func (m *Images) Resolve(ref, want string) (*store.Image, error) {
	img, _, err := m.find(ref)
	if err != nil || want == "" {
		return img, err
	}
	p, err := platform.Parse(want)
	if err != nil {
		return nil, err
	}
	if have, err := platform.Parse(img.Platform); err != nil || !have.Satisfies(p) {
		return nil, fault.New(fault.NotFound, subject(ref), "No such image for "+p.String()+": the one that is here is for "+img.Platform,
			fault.WithReason(fault.ReasonNoSuchImage), fault.WithField("platform"))
	}
	return img, nil
}

// Get gives the image that a reference means.
func (m *Images) Get(ref string) (*store.Image, error) { return m.Resolve(ref, "") }

// List gives all images, newest first.
func (m *Images) List() []*store.Image { return m.store.ListImages() }

// LayerPaths gives the folders of an image's layers, lowest first.
func (m *Images) LayerPaths(img *store.Image) []string {
	out := make([]string, len(img.Layers))
	for i, d := range img.Layers {
		out[i] = m.layers.Path(d)
	}
	return out
}

// Tag gives an image one more name. A tag that stands on another image moves.
func (m *Images) Tag(ref, tag string) error {
	name, err := parseTag(tag)
	if err != nil {
		return err
	}
	img, _, err := m.find(ref)
	if err != nil {
		return err
	}
	return named(ref, m.store.TagImage(img.ID, name.String()))
}

// Removal is what Remove did.
type Removal struct {
	Untagged []string // names in the short form that people write
	Deleted  []string // the image's id and those of its layers that no other image has
}

// Remove takes a tag off, and with the last one removes the image. See store.RemoveImage for what is in the way of that.
func (m *Images) Remove(ref string, force bool) (*Removal, error) {
	img, name, err := m.find(ref)
	if err != nil {
		return nil, err
	}
	done, err := m.store.RemoveImage(img.ID, name, force)
	if err != nil {
		return nil, named(ref, err)
	}
	out := &Removal{}
	for _, n := range done.Untagged {
		out.Untagged = append(out.Untagged, Familiar(n))
	}
	if done.Image == nil {
		return out, nil
	}
	out.Deleted = []string{img.ID}
	highestFirst := slices.Clone(img.Layers)
	slices.Reverse(highestFirst)
	gone, err := m.layers.Sweep(m.store.LayerUsed, highestFirst...)
	if err != nil {
		// The image is gone, which is what was asked for; Open tries again.
		m.log.Warn("layers of a removed image are left", "image", img.ID, "error", err)
	}
	out.Deleted = append(out.Deleted, gone...)
	return out, nil
}

// draft is an image of which all but the layers is here.
type draft struct {
	img   *store.Image
	blobs []layers.Blob
	short []string // what people see of each layer's digest
}

// newDraft reads an image's configuration, and matches it with the blobs that its manifest has.
func newDraft(subject, imageID string, config []byte, blobs []layers.Blob) (*draft, error) {
	var c ocispec.Image
	if len(config) > maxConfig {
		return nil, checkBudget(subject, config, &c, len(blobs))
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, fault.New(fault.Invalid, subject, "its configuration cannot be read", fault.WithCause(err))
	}
	if err := checkBudget(subject, config, &c, len(blobs)); err != nil {
		return nil, err
	}
	if len(c.RootFS.DiffIDs) != len(blobs) {
		return nil, fault.New(fault.Invalid, subject, "its configuration and its manifest do not have the same number of layers")
	}
	p := platform.Platform{OS: c.OS, Arch: c.Architecture, Variant: c.Variant}
	d := &draft{img: &store.Image{ID: imageID, Platform: p.String(), StoredAt: time.Now().UTC(), Config: config}, blobs: blobs}
	if c.Created != nil {
		d.img.CreatedAt = c.Created.UTC()
	}
	for i, id := range c.RootFS.DiffIDs {
		if !layers.ValidDiffID(id.String()) {
			return nil, fault.New(fault.Invalid, subject, "one of its layers has no sha256 digest but "+id.String())
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

// finish does what needs all layers of an image: it is ready to be stored then.
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

// add stores images whose layers are all there.
func (m *Images) add(images ...*store.Image) ([]*store.Image, error) {
	stored, err := m.store.AddImages(images...)
	for _, img := range stored {
		m.layers.Keep(img.Layers...)
	}
	return stored, err
}

// release lets go of layers that were held, and removes those that no image came to have.
func (m *Images) release(diffIDs []string) {
	if _, err := m.layers.Release(m.store.LayerUsed, diffIDs...); err != nil {
		m.log.Warn("layers that no image has are left", "error", err)
	}
}
