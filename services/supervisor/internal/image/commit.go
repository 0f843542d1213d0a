package image

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/change"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// CommitRequest describes the image to create from the changes of a container.
type CommitRequest struct {
	Parent    *store.Image  // the image of the container
	Reference string        // the tag; empty for none
	Config    change.Config // the configuration of the container, without what it inherits unchanged
	Changes   []string      // Dockerfile instructions
	Author    string
	Message   string // comment in the history
	CreatedBy string // command in the history
}

// noEntries is the diff ID of an archive without entries.
const noEntries = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"

// Commit creates an image with one layer more than its parent. write writes the archive of that layer;
// it is called once the request is known to be valid. Without entries, no layer is added.
func (m *Images) Commit(ctx context.Context, req CommitRequest, write func(io.Writer) error) (*store.Image, error) {
	var tags []string
	if req.Reference != "" {
		tag, err := parseTag(req.Reference)
		if err != nil {
			return nil, err
		}
		tags = []string{tag.String()}
	}
	if err := change.Apply(&req.Config, req.Changes); err != nil {
		return nil, err
	}

	m.layers.Hold(req.Parent.Layers...)
	held := slices.Clone(req.Parent.Layers)
	defer func() { m.release(held) }()

	diffID, err := m.addWritten(ctx, write)
	if err != nil {
		return nil, err
	}
	held = append(held, diffID)

	img, err := commitOf(req, diffID)
	if err != nil {
		return nil, err
	}
	img.Tags = tags
	if err := m.finish(img); err != nil {
		return nil, err
	}

	stored, err := m.add(img)
	if err != nil {
		return nil, err
	}
	if len(tags) > 0 {
		m.emit("tag", stored[0].ID, Familiar(tags[0]), stored[0])
	}

	return stored[0], nil
}

// addWritten unpacks the archive that write writes. The layer is held.
func (m *Images) addWritten(ctx context.Context, write func(io.Writer) error) (string, error) {
	pr, pw := io.Pipe()
	written := make(chan error, 1)
	go func() {
		out := bufio.NewWriterSize(pw, 256<<10)
		err := write(out)
		if err == nil {
			err = out.Flush()
		}
		_ = pw.CloseWithError(err)
		written <- err
	}()

	diffID, err := m.layers.AddArchive(ctx, pr)
	_ = pr.Close()
	if werr := <-written; err != nil && werr != nil && !errors.Is(werr, io.ErrClosedPipe) {
		return "", werr
	}

	return diffID, err
}

// commitOf returns the image without its tags and size.
func commitOf(req CommitRequest, diffID string) (*store.Image, error) {
	now := time.Now().UTC()
	data, err := committed(req, diffID, now)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, subject(Familiar(firstName(req.Parent))),
			"configuration is not valid")
	}

	var c ocispec.Image
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, err
	}
	if err := checkBudget("image", data, &c, len(c.RootFS.DiffIDs)); err != nil {
		return nil, err
	}

	sum := sha256.Sum256(data)
	img := &store.Image{ID: "sha256:" + hex.EncodeToString(sum[:]), Platform: req.Parent.Platform, CreatedAt: now,
		StoredAt: now, Config: data}
	for _, d := range c.RootFS.DiffIDs {
		img.Layers = append(img.Layers, d.String())
	}
	return img, nil
}

// committed returns the configuration of an image from that of its parent. Fields that are not known
// stay as they are.
func committed(req CommitRequest, diffID string, now time.Time) ([]byte, error) {
	var parent ocispec.Image
	doc := map[string]json.RawMessage{}
	err := errors.Join(json.Unmarshal(req.Parent.Config, &parent), json.Unmarshal(req.Parent.Config, &doc))
	if err != nil {
		return nil, err
	}

	rootFS := ocispec.RootFS{Type: "layers", DiffIDs: slices.Clone(parent.RootFS.DiffIDs)}
	if diffID != noEntries {
		rootFS.DiffIDs = append(rootFS.DiffIDs, digest.Digest(diffID))
	}
	history := append(slices.Clone(parent.History), ocispec.History{Created: &now, CreatedBy: req.CreatedBy,
		Author: req.Author, Comment: req.Message, EmptyLayer: diffID == noEntries})
	for _, key := range []string{"id", "parent", "author", "container", "container_config", "docker_version"} {
		delete(doc, key)
	}

	inherited, err := overlay(doc["config"], req.Config)
	for key, value := range map[string]any{"config": inherited, "created": now, "rootfs": rootFS, "history": history,
		"author": req.Author} {
		if value != "" {
			err = errors.Join(err, set(doc, key, value))
		}
	}
	data, merr := json.Marshal(doc)
	return data, errors.Join(err, merr)
}

// overlay returns the configuration of an image with the fields of another. Fields that Config does not
// have stay as they are.
func overlay(before json.RawMessage, c change.Config) (map[string]json.RawMessage, error) {
	out, known := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	if len(before) > 0 {
		if err := json.Unmarshal(before, &out); err != nil {
			return nil, err
		}
	}
	for _, key := range []string{"User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels",
		"StopSignal", "ArgsEscaped", "Healthcheck", "OnBuild", "Shell"} {
		delete(out, key)
	}

	data, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &known); err != nil {
		return nil, err
	}
	maps.Copy(out, known)
	return out, nil
}

func set(doc map[string]json.RawMessage, key string, value any) error {
	data, err := json.Marshal(value)
	doc[key] = data
	return err
}
