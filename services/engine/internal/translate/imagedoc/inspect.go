package imagedoc

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/storage"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/protobuf/types/known/timestamppb"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
)

// storageDriver is the name of the storage driver, as in Docker.
const storageDriver = "overlay2"

// imageConfig is an image configuration.
type imageConfig struct {
	Author  string                          `json:"author"`
	Config  dockerspec.DockerOCIImageConfig `json:"config"`
	History []struct {
		Comment string `json:"comment"`
	} `json:"history"`
}

// configOf parses the configuration of an image. What cannot be parsed is empty.
func configOf(i *containerv1.Image) (c imageConfig) {
	_ = json.Unmarshal(i.GetConfig(), &c)
	return c
}

// labelsOf returns the labels of an image.
func labelsOf(i *containerv1.Image) map[string]string {
	if labels := configOf(i).Config.Labels; labels != nil {
		return labels
	}
	return map[string]string{}
}

// comment returns the comment of the last build step.
func (c imageConfig) comment() string {
	if n := len(c.History); n > 0 {
		return c.History[n-1].Comment
	}
	return ""
}

// Fields of image configurations that older API versions have even if they are not set.
var (
	fieldsBefore50 = map[string]any{"AttachStderr": false, "AttachStdin": false, "AttachStdout": false,
		"Domainname": "", "Hostname": "", "Image": "", "OpenStdin": false, "StdinOnce": false, "Tty": false}
	fieldsBefore52 = map[string]any{"Cmd": nil, "Entrypoint": nil, "Env": nil, "Labels": nil, "OnBuild": nil,
		"User": "", "Volumes": nil, "WorkingDir": ""}
)

// InspectFromProto returns the details of an image, as an API version has them.
func InspectFromProto(i *containerv1.Image, v apiversion.Version, manifests bool) (any, error) {
	c := configOf(i)
	p := platformFromText(i.GetPlatform())
	r := image.InspectResponse{
		ID:           i.GetId(),
		RepoTags:     list(i.GetTags()),
		RepoDigests:  list(i.GetDigests()),
		Comment:      c.comment(),
		Created:      timeText(i.GetCreatedAt()),
		Author:       c.Author,
		Config:       &c.Config,
		Architecture: p.Architecture,
		Variant:      p.Variant,
		Os:           p.OS,
		Size:         i.GetSize(),
		GraphDriver:  graphDriver(i.GetLayerDirectories()),
		RootFS:       image.RootFS{Type: "layers", Layers: i.GetLayers()},
		Metadata:     image.Metadata{LastTagTime: i.GetLastTaggedAt().AsTime()},
	}
	if i.GetLastTaggedAt() == nil {
		r.Metadata.LastTagTime = time.Time{}
	}
	if v.AtLeast(48) {
		r.Descriptor = descriptorFromProto(i)
		if manifests {
			r.Manifests = manifestsFromProto(i, nil)
		}
	}

	return withLegacyFields(r, v)
}

// withLegacyFields adds the fields that only older API versions have.
func withLegacyFields(r image.InspectResponse, v apiversion.Version) (any, error) {
	if v.AtLeast(52) {
		return r, nil
	}

	config, err := merged(r.Config, fieldsBefore52)
	if err == nil && v.Before(50) {
		config, err = merged(config, fieldsBefore50)
	}
	if err != nil {
		return nil, err
	}

	extra := map[string]any{"Parent": "", "Comment": r.Comment, "DockerVersion": "", "Author": r.Author}
	if v.Before(45) {
		extra["Container"], extra["ContainerConfig"] = "", container.Config{}
	}
	if v.Before(44) {
		extra["VirtualSize"] = r.Size
		if r.Created == "" {
			extra["Created"] = time.Time{}.Format(time.RFC3339Nano)
		}
	}

	out, err := merged(r, extra)
	if err != nil {
		return nil, err
	}
	out["Config"] = config
	return out, nil
}

// merged returns the fields of a value as JSON has them, and those of defaults that it lacks.
func merged(v any, defaults map[string]any) (map[string]any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}

	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}

	out := maps.Clone(defaults)
	for name, value := range fields {
		out[name] = value
	}
	return out, nil
}

// graphDriver returns the directories of the layers, lowest first, as Docker's overlay driver does:
// the highest layer, and the others from top to bottom.
func graphDriver(layers []string) *storage.DriverData {
	d := &storage.DriverData{Name: storageDriver, Data: map[string]string{}}
	n := len(layers)
	if n == 0 {
		return d
	}

	d.Data["UpperDir"] = layers[n-1]
	if below := slices.Clone(layers[:n-1]); len(below) > 0 {
		slices.Reverse(below)
		d.Data["LowerDir"] = strings.Join(below, ":")
	}
	return d
}

// platformFromText parses os/arch[/variant].
func platformFromText(text string) (p ocispec.Platform) {
	parts := append(strings.SplitN(text, "/", 3), "", "")
	return ocispec.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
}

// timeText returns a time in RFC 3339 with nanoseconds, or an empty text without one.
func timeText(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Format(time.RFC3339Nano)
}
