// Package debimage makes container images of Debian's packages, where no registry can be reached: busybox and nginx.
//
// Packages are downloaded by apt-get and unpacked; nothing is installed on the machine. It is for the demo, the stories and the benchmarks.
package debimage

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// recipe is part of a cached image's name: change it when an image is made in another way.
const recipe = "1"

// Cache keeps packages and finished images in a folder.
type Cache struct{ Dir string }

// part is one layer: packages to unpack, then what finishes the root file system.
type part struct {
	packages []string
	finish   func(root string) error
}

// Busybox makes an image of one layer: Debian's static busybox under all its names.
func (c Cache) Busybox(ctx context.Context) (v1.Image, error) {
	return c.image(ctx, "busybox", v1.Config{Cmd: []string{"sh"}}, []part{{[]string{"busybox-static"}, busyboxRoot}})
}

// Nginx makes an image of three layers: busybox, nginx with its libraries, and its configuration.
func (c Cache) Nginx(ctx context.Context) (v1.Image, error) {
	config := v1.Config{
		Cmd:          []string{"nginx", "-g", "daemon off;"},
		ExposedPorts: map[string]struct{}{"80/tcp": {}},
		StopSignal:   "SIGQUIT",
	}
	return c.image(ctx, "nginx", config, []part{
		{[]string{"busybox-static"}, busyboxRoot},
		{[]string{"nginx", "nginx-common"}, nginxRoot},
		{nil, nginxConfig},
	})
}

// image answers a finished image from the cache, or makes it.
func (c Cache) image(ctx context.Context, name string, config v1.Config, parts []part) (v1.Image, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, recipe)
	files := make([][]string, len(parts))
	for i, p := range parts {
		if len(p.packages) == 0 {
			continue
		}
		var err error
		if files[i], err = debs(ctx, filepath.Join(c.Dir, "debs"), p.packages...); err != nil {
			return nil, fmt.Errorf("packages of image %s: %w", name, err)
		}
		fmt.Fprintln(sum, files[i])
	}
	dir := filepath.Join(c.Dir, "images", fmt.Sprintf("%s-%x", name, sum.Sum(nil)[:6]))
	if img, err := read(dir); err == nil {
		return img, nil
	}
	img, err := build(ctx, config, parts, files)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", name, err)
	}
	return img.keep(dir)
}

// built is an image whose layers are still in a temporary folder.
type built struct {
	v1.Image
	temporary string
}

func build(ctx context.Context, config v1.Config, parts []part, files [][]string) (*built, error) {
	temporary, err := os.MkdirTemp("", "debimage")
	if err != nil {
		return nil, err
	}
	b := &built{empty.Image, temporary}
	for i, p := range parts {
		layer, err := makeLayer(ctx, filepath.Join(temporary, fmt.Sprint(i)), files[i], p.finish)
		if err == nil {
			b.Image, err = mutate.AppendLayers(b.Image, layer)
		}
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(temporary))
		}
	}
	config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	if b.Image, err = mutate.ConfigFile(b.Image, configFile(b.Image, config)); err != nil {
		return nil, errors.Join(err, os.RemoveAll(temporary))
	}
	return b, nil
}

func configFile(img v1.Image, config v1.Config) *v1.ConfigFile {
	file, err := img.ConfigFile()
	if err != nil {
		file = &v1.ConfigFile{}
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config = "linux", architecture(), config
	return file
}

// keep writes the image to the cache, whole or not at all.
func (b *built) keep(dir string) (v1.Image, error) {
	half := fmt.Sprintf("%s.%d.tmp", dir, os.Getpid())
	err := errors.Join(os.RemoveAll(half), os.MkdirAll(half, 0o755))
	if err == nil {
		var path layout.Path
		if path, err = layout.Write(half, empty.Index); err == nil {
			err = path.AppendImage(b.Image)
		}
	}
	if err == nil {
		if err = os.Rename(half, dir); errors.Is(err, os.ErrExist) {
			err = nil // another process was faster
		}
	}
	if err := errors.Join(err, os.RemoveAll(b.temporary), os.RemoveAll(half)); err != nil {
		return nil, err
	}
	return read(dir)
}

func read(dir string) (v1.Image, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(manifest.Manifests) != 1 {
		return nil, fmt.Errorf("%s: holds %d images", dir, len(manifest.Manifests))
	}
	return index.Image(manifest.Manifests[0].Digest)
}
