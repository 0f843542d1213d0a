// Package archive reads images from tar archives of `docker save` and OCI layouts, and writes
// archives that are both. An archive to read can be compressed. Package image calls it, and unpacks
// and stores the images.
package archive

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/layers"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/unpack"
)

// Limits for one archive.
const (
	maxDocument = 8 << 20 // bytes of a manifest or index
	maxParts    = 100_000 // files
	maxImages   = 256
)

const subject = "archive"

// Archive is a spooled archive whose files can be read in any order.
type Archive struct {
	file  *os.File
	parts map[string]part
}

// part is a file in the archive, or a link to another file.
type part struct {
	at, size int64
	link     string
}

// Image is one image of an archive.
type Image struct {
	Names  []string // as in the archive
	Config []byte
	ID     string
	Layers []Layer // lowest first

	Manifest     []byte // manifest of an OCI layout, byte for byte
	ManifestType string // its media type
}

// Layer is the blob of one layer.
type Layer struct {
	Digest string // empty if the archive does not contain it
	Size   int64
	Open   func(context.Context) (io.ReadCloser, error)
}

// Read spools an archive to an unlinked file in dir. The file is deleted when the archive is closed
// or the process exits.
func Read(ctx context.Context, dir string, in io.Reader) (*Archive, error) {
	file, err := os.CreateTemp(dir, "archive.tmp-")
	if err != nil {
		return nil, layers.DiskFault(subject, err)
	}
	a := &Archive{file: file, parts: map[string]part{}}
	if err := a.load(ctx, dir, in); err != nil {
		_ = a.Close()
		return nil, err
	}
	return a, nil
}

func (a *Archive) load(ctx context.Context, dir string, in io.Reader) error {
	if err := os.Remove(a.file.Name()); err != nil {
		return layers.DiskFault(subject, err)
	}
	if err := a.spool(ctx, dir, in); err != nil {
		return err
	}
	return a.index()
}

// Close closes the spool file.
func (a *Archive) Close() error { return a.file.Close() }

func (a *Archive) spool(ctx context.Context, dir string, in io.Reader) error {
	disk, err := beneath.Open(dir)
	if err != nil {
		return layers.DiskFault(subject, err)
	}
	defer func() { _ = disk.Close() }()
	plain, err := unpack.Decompress(in)
	if err != nil {
		return unreadable(ctx, err)
	}
	defer plain.Close()
	if _, err := io.Copy(&sink{file: a.file, ctx: ctx, disk: disk}, plain); err != nil {
		return unreadable(ctx, err)
	}

	return nil
}

// sink writes to the spool file. It wraps its own failures as disk faults, so that they differ from
// the reader's.
type sink struct {
	file  *os.File
	ctx   context.Context
	disk  *beneath.Root
	since int // bytes written since the last check of free disk space
}

// spareEvery is the number of bytes between two checks of free disk space.
const spareEvery = 1 << 20

func (s *sink) Write(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.file.Write(p)
	if s.since += n; err == nil && s.since >= spareEvery {
		s.since, err = 0, s.disk.Spare()
	}
	if err != nil {
		err = layers.DiskFault(subject, err)
	}
	return n, err
}

func unreadable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if f, ok := errors.AsType[*fault.Fault](err); ok {
		return f
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.New(fault.Invalid, subject, "is truncated")
	}
	return fault.New(fault.Invalid, subject, "cannot be read", fault.WithCause(err))
}

// index records the offset of each file.
func (a *Archive) index() error {
	if _, err := a.file.Seek(0, io.SeekStart); err != nil {
		return err
	}

	end, err := a.file.Stat()
	if err != nil {
		return err
	}

	for r := tar.NewReader(a.file); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fault.New(fault.Invalid, subject, "is not a tar archive, or is truncated", fault.WithCause(err))
		}
		at, err := a.file.Seek(0, io.SeekCurrent) // the tar reader reads no further than the header
		if err != nil {
			return err
		}
		if len(a.parts) >= maxParts {
			return fault.Invalidf(subject, "", "contains more than %d files", maxParts)
		}
		name := clean(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			if at+h.Size > end.Size() {
				return fault.New(fault.Invalid, subject, "is truncated: "+name+" is incomplete")
			}
			a.parts[name] = part{at: at, size: h.Size}
		case tar.TypeSymlink:
			a.parts[name] = part{link: clean(path.Join(path.Dir(name), h.Linkname))}
		case tar.TypeLink:
			a.parts[name] = part{link: clean(h.Linkname)}
		}
	}
}

func clean(name string) string { return strings.TrimPrefix(path.Join("/", name), "/") }

// find returns a file and follows links. Older versions of Docker use links for layers that images
// share.
func (a *Archive) find(name string) (part, error) {
	at := clean(name)
	for range 8 {
		p, ok := a.parts[at]
		if ok && p.link == "" {
			return p, nil
		}
		if !ok {
			break
		}
		at = p.link
	}

	return part{}, fault.New(fault.Invalid, subject,
		"does not contain the file "+name+", which one of its images needs")
}

func (a *Archive) has(name string) bool {
	_, ok := a.parts[name]
	return ok
}

// document parses a JSON file of at most limit bytes.
func (a *Archive) document(name string, into any, limit int64) ([]byte, error) {
	p, err := a.find(name)
	if err != nil {
		return nil, err
	}
	if p.size > limit {
		return nil, fault.New(fault.Invalid, subject, fmt.Sprintf("%s is too large: %d bytes", name, p.size))
	}

	data := make([]byte, p.size)
	if _, err := a.file.ReadAt(data, p.at); err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, subject, "cannot read "+name)
	}

	if err := json.Unmarshal(data, into); err != nil {
		return nil, fault.New(fault.Invalid, subject, name+" is not valid", fault.WithCause(err))
	}

	return data, nil
}

// layer returns the layer in a file. The file can be missing: only a layer that is not stored is opened.
func (a *Archive) layer(name, digest string) (Layer, error) {
	p, err := a.find(name)
	if err != nil && !a.has(clean(name)) {
		return Layer{Open: func(context.Context) (io.ReadCloser, error) { return nil, err }}, nil
	}
	if err != nil {
		return Layer{}, err
	}
	return Layer{Digest: digest, Size: p.size, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(a.file, p.at, p.size)), nil
	}}, nil
}

// Images returns the images in the archive, in its order.
func (a *Archive) Images() ([]Image, error) {
	switch {
	case a.has("manifest.json"):
		out, err := a.saved()
		if err == nil && a.has("index.json") {
			out = a.complete(out)
		}
		return out, err
	case a.has("index.json"):
		return a.layout()
	}
	return nil, fault.New(fault.Invalid, subject,
		"contains neither manifest.json nor index.json, so it is not an image archive",
		fault.WithHint("use `fairlead import` for a root file system"))
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}
