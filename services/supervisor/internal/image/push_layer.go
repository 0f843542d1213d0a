package image

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/distribution/reference"
	"golang.org/x/sync/errgroup"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/layers"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// layers uploads the layers of an image, several concurrently, and returns their blobs.
func (p *push) layers(ctx context.Context, img *store.Image) ([]layers.Known, error) {
	out := make([]layers.Known, len(img.Layers))
	first := map[string]int{}
	for i, d := range img.Layers {
		if _, seen := first[d]; !seen {
			first[d] = i
			p.report.step("preparing", layers.Short(d))
		}
	}

	// A failure does not interrupt the other uploads: the next push finds them complete.
	var group errgroup.Group
	var failed atomic.Bool
	group.SetLimit(parallelLayers)
	for d, i := range first {
		group.Go(func() error {
			if failed.Load() {
				return nil
			}
			var err error
			if out[i], err = p.layer(ctx, img, i); err == nil {
				err = p.images.layers.Remember(d, out[i])
			}
			if err != nil {
				failed.Store(true)
			}
			return err
		})
	}
	err := group.Wait()
	if err != nil && strings.HasPrefix(faultSubject(err), "layer ") {
		err = cannot(subject(reference.FamiliarString(p.tag)), "be pushed", err)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	for i, d := range img.Layers {
		out[i] = out[first[d]]
	}

	return out, err
}

// layer ensures that the repository has a layer: it asks for the likeliest blob, mounts it from
// another repository of the registry, or uploads it.
func (p *push) layer(ctx context.Context, img *store.Image, i int) (layers.Known, error) {
	diffID := img.Layers[i]
	short := layers.Short(diffID)
	known := p.candidates(img, i)
	here := func(k layers.Known) layers.Known {
		k.Repository = p.tag.Name()
		return k
	}

	if len(known) > 0 {
		size, ok, err := p.to.HasBlob(ctx, known[0].Digest)
		if err != nil {
			return layers.Known{}, err
		}
		if ok && (size < 0 || known[0].Size == 0 || size == known[0].Size) {
			p.report.step("present", short)
			return here(known[0]), nil
		}
	}
	for _, k := range known {
		if path, ok := p.sameRegistry(k.Repository); ok && path != reference.Path(p.tag) &&
			p.to.Mount(ctx, k.Digest, path) {
			p.report.step("mounted from "+familiarPath(k.Repository), short)
			return here(k), nil
		}
	}

	var err error
	for range uploadAttempts {
		var k layers.Known
		if k, err = p.upload(ctx, diffID); err == nil {
			p.report.step("pushed", short)
			return here(k), nil
		}
		if ctx.Err() != nil || !fault.Is(err, fault.Unavailable) {
			break
		}
	}

	return layers.Known{}, err
}

// candidates returns the known blobs of a layer, the likeliest first: that of the manifest if it is
// in this repository, then others of the repository, of the registry, and of elsewhere.
func (p *push) candidates(img *store.Image, i int) []layers.Known {
	all := p.images.layers.KnownBlobs(img.Layers[i])
	inManifest := blobOf(img, i)
	rank := func(k layers.Known) int {
		n := 0
		if k.Digest == inManifest {
			n++
		}
		if _, ok := p.sameRegistry(k.Repository); ok {
			n += 2
		}
		if k.Repository == p.tag.Name() {
			n += 2
		}
		return n
	}
	slices.SortStableFunc(all, func(a, b layers.Known) int { return rank(b) - rank(a) })

	return all
}

// sameRegistry returns the path of a repository if it is in the registry of the push.
func (p *push) sameRegistry(repository string) (path string, ok bool) {
	return strings.CutPrefix(repository, reference.Domain(p.tag)+"/")
}

// mounts returns the repositories of the registry that have blobs of the layers.
func (p *push) mounts(diffIDs []string) []string {
	var out []string
	for _, d := range diffIDs {
		for _, k := range p.images.layers.KnownBlobs(d) {
			path, ok := p.sameRegistry(k.Repository)
			if ok && path != reference.Path(p.tag) && !slices.Contains(out, path) && len(out) < maxMounts {
				out = append(out, path)
			}
		}
	}
	return out
}

// upload compresses and uploads a layer. It compresses as Docker does, which gives the digest that
// Docker's push of the layer gives.
func (p *push) upload(ctx context.Context, diffID string) (layers.Known, error) {
	k := layers.Known{MediaType: dockerLayer}
	total, err := p.images.layers.TarSize(diffID)
	if err != nil {
		return k, err
	}

	report := p.report.layer(layers.Short(diffID))
	err = p.to.Upload(ctx, func(w io.Writer) (string, error) {
		sum, count := sha256.New(), &written{}
		zip := gzip.NewWriter(io.MultiWriter(w, sum, count))
		read := &written{changed: func(n int64) {
			report(layers.Progress{Phase: "pushing", Done: n, Total: total})
		}}
		if err := p.images.layers.Tar(ctx, diffID, io.MultiWriter(zip, read)); err != nil {
			return "", err
		}
		if err := zip.Close(); err != nil {
			return "", err
		}
		k.Digest, k.Size = "sha256:"+hex.EncodeToString(sum.Sum(nil)), count.n
		return k.Digest, nil
	})

	return k, err
}

// written counts bytes.
type written struct {
	n       int64
	changed func(n int64)
}

// Write counts the bytes.
func (w *written) Write(p []byte) (int, error) {
	w.n += int64(len(p))
	if w.changed != nil {
		w.changed(w.n)
	}
	return len(p), nil
}

func familiarPath(repository string) string {
	ref, err := reference.ParseNormalizedNamed(repository)
	if err != nil {
		return repository
	}
	return reference.Path(ref)
}
