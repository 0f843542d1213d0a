// Package debimage builds container images from Debian packages, without a registry: busybox and
// nginx. Packages are downloaded by apt-get and unpacked, not installed. The demo, the scripts and
// the benchmarks use it.
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

// recipe is part of the name of a cached image. Change it when images are built differently.
const recipe = "1"

// Cache is a directory of packages and built images.
type Cache struct{ Dir string }

// layer is one layer: packages to unpack and a function that completes the root file system.
type layer struct {
	packages []string
	finish   func(root string) error
}

// Busybox returns an image with one layer: Debian's static busybox with a link for each applet.
func (c Cache) Busybox(ctx context.Context) (v1.Image, error) {
	return c.image(ctx, "busybox", v1.Config{Cmd: []string{"sh"}}, []layer{{[]string{"busybox-static"}, busyboxRoot}})
}

// Nginx returns an image with three layers: busybox, nginx with its libraries, and its
// configuration.
func (c Cache) Nginx(ctx context.Context) (v1.Image, error) {
	config := v1.Config{
		Cmd:          []string{"nginx", "-g", "daemon off;"},
		ExposedPorts: map[string]struct{}{"80/tcp": {}},
		StopSignal:   "SIGQUIT",
	}
	return c.image(ctx, "nginx", config, []layer{
		{[]string{"busybox-static"}, busyboxRoot},
		{[]string{"nginx", "nginx-common"}, nginxRoot},
		{nil, nginxConfig},
	})
}

// NginxWithCurl returns the image of Nginx with curl, for the demo of a fleet.
func (c Cache) NginxWithCurl(ctx context.Context) (v1.Image, error) {
	config := v1.Config{Cmd: []string{"nginx", "-g", "daemon off;"}, StopSignal: "SIGQUIT",
		ExposedPorts: map[string]struct{}{"80/tcp": {}}}
	return c.image(ctx, "nginx-curl", config, []layer{
		{[]string{"busybox-static"}, busyboxRoot},
		{[]string{"nginx", "nginx-common", "curl"}, nginxRoot},
		{nil, nginxConfig},
	})
}

// image returns an image from the cache, or builds it.
func (c Cache) image(ctx context.Context, name string, config v1.Config, parts []layer) (v1.Image, error) {
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

// built is an image with its layers in a temporary directory.
type built struct {
	v1.Image
	temporary string
}

func build(ctx context.Context, config v1.Config, parts []layer, files [][]string) (*built, error) {
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

// keep writes the image to the cache atomically.
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
