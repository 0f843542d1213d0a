package inspect

import (
	"encoding/json"
	"slices"
	"strings"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// ImageConfig is the execution part of an OCI image configuration. See
// https://github.com/opencontainers/image-spec/blob/main/config.md.
type ImageConfig struct {
	User         string              `json:",omitempty"`
	ExposedPorts map[string]struct{} `json:",omitempty"`
	Env          []string
	Entrypoint   []string
	Cmd          []string
	Volumes      map[string]struct{} `json:",omitempty"`
	WorkingDir   string
	Labels       map[string]string
	StopSignal   string `json:",omitempty"`
}

// Image is the document of an image.
type Image struct {
	ID           string `json:"Id"`
	RepoTags     []string
	RepoDigests  []string
	Created      string
	Author       string `json:",omitempty"`
	Architecture string
	Variant      string `json:",omitempty"`
	Os           string
	Size         int64
	VirtualSize  int64 // equal to Size, as in Docker
	Parent       string
	Comment      string
	GraphDriver  ImageGraphDriver
	Config       ImageConfig
	RootFS       RootFS
	Metadata     ImageMetadata
	Descriptor   *ImageDescriptor `json:",omitempty"`
}

// ImageGraphDriver is the storage driver with the directories of the layers.
type ImageGraphDriver struct {
	Name string
	Data map[string]string
}

// ImageMetadata holds data of this host only.
type ImageMetadata struct {
	LastTagTime string
}

// ImageDescriptor describes the manifest of an image.
type ImageDescriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
}

// RootFS lists the layers of the root file system.
type RootFS struct {
	Type   string
	Layers []string
}

// document is an OCI image configuration.
type document struct {
	Author  string      `json:"author"`
	Config  ImageConfig `json:"config"`
	History []struct {
		Comment string `json:"comment"`
	} `json:"history"`
}

// comment returns the comment of the last build step.
func (d document) comment() string {
	if n := len(d.History); n > 0 {
		return d.History[n-1].Comment
	}
	return ""
}

// parse parses the configuration of an image. An invalid configuration is empty; the agent reports
// the error.
func parse(image *containerv1.Image) (d document) {
	_ = json.Unmarshal(image.GetConfig(), &d)
	return d
}

func imageConfig(image *containerv1.Image) ImageConfig { return parse(image).Config }

// FromImage returns the document of an image.
func FromImage(image *containerv1.Image) *Image {
	d := parse(image)
	os, arch, variant := platform(image.GetPlatform())
	return &Image{
		ID:           image.GetId(),
		RepoTags:     list(image.GetTags()),
		RepoDigests:  list(image.GetDigests()),
		Created:      formatTime(image.GetCreatedAt()),
		Author:       d.Author,
		Architecture: arch,
		Variant:      variant,
		Os:           os,
		Size:         image.GetSize(),
		VirtualSize:  image.GetSize(),
		Comment:      d.comment(),
		GraphDriver:  graphDriver(image.GetLayerDirectories()),
		Config:       d.Config,
		RootFS:       RootFS{Type: "layers", Layers: list(image.GetLayers())},
		Metadata:     ImageMetadata{LastTagTime: formatTime(image.GetLastTaggedAt())},
		Descriptor:   descriptor(image),
	}
}

func descriptor(image *containerv1.Image) *ImageDescriptor {
	if image.GetManifestDigest() == "" {
		return nil
	}
	return &ImageDescriptor{MediaType: image.GetManifestType(), Digest: image.GetManifestDigest()}
}

// graphDriver returns the directories as the overlay driver of Docker does: the highest layer, and
// those below it, the next lower one first.
func graphDriver(layers []string) ImageGraphDriver {
	out := ImageGraphDriver{Name: "overlay"}
	if n := len(layers); n > 0 {
		out.Data = map[string]string{"UpperDir": layers[n-1]}
		below := slices.Clone(layers[:n-1])
		slices.Reverse(below)
		if len(below) > 0 {
			out.Data["LowerDir"] = strings.Join(below, ":")
		}
	}
	return out
}

func platform(s string) (os, arch, variant string) {
	parts := append(strings.SplitN(s, "/", 3), "", "")
	return parts[0], parts[1], parts[2]
}

// list returns an empty list instead of nil, so that it is not printed as null.
func list(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}
