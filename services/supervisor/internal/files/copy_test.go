package files

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/lives"
	"github.com/fairlead/fairlead/services/supervisor/internal/notices"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
	"github.com/fairlead/fairlead/services/supervisor/internal/volume"
)

// host has one stopped container, "web", whose root file system is a tmpfs.
type host struct {
	*Files
	t        *testing.T
	base     string
	released []string
}

func (h *host) Resolve(string, string) (*store.Image, error) { return &store.Image{}, nil }
func (h *host) LayerPaths(*store.Image) []string             { return nil }
func (h *host) Mount(context.Context, string, []string) (string, error) {
	return h.base + "/root", nil
}
func (h *host) Unmount(string) error                             { return nil }
func (h *host) Path(string) string                               { return h.base + "/root" }
func (h *host) Upper(string) string                              { return h.base + "/root" }
func (h *host) MountImage(string, int, []string) (string, error) { return h.base + "/image", nil }
func (h *host) UnmountImages(_ string, n int) error {
	h.released = append(h.released, strings.Repeat("image", n))
	return nil
}
func (h *host) Acquire(_ context.Context, name string) (string, error) {
	return h.base + "/" + name, nil
}
func (h *host) Release(_ context.Context, names []string, _ func(string) bool) error {
	h.released = append(h.released, names...)
	return nil
}

func newHost(t *testing.T, mounts ...container.Mount) *host {
	t.Helper()
	testns.NeedRoot(t)
	h := &host{t: t, base: t.TempDir()}
	for _, dir := range []string{"/root", "/volume/sub", "/bound", "/db"} {
		h.must(os.MkdirAll(h.base+dir, 0o755))
	}
	h.must(unix.Mount("tmpfs", h.base+"/root", "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { _ = unix.Unmount(h.base+"/root", unix.MNT_DETACH) })

	s, err := store.Open(h.base + "/db")
	h.must(err)
	t.Cleanup(func() { _ = s.Close() })
	v, err := volume.New("volume", "", nil, nil, time.Now())
	h.must(err)
	_, err = s.AddVolume(v)
	h.must(err)
	_, err = s.AddImages(&store.Image{ID: "sha256:aa"})
	h.must(err)
	h.must(s.AddContainer(&container.Container{ID: strings.Repeat("a", 64), Status: container.Exited,
		ImageID: "sha256:aa",
		Config:  container.Config{Name: "web", Mounts: mounts}}))
	h.Files = New(Config{Store: s, Images: h, RootFS: h, Volumes: h, Lives: lives.New(),
		Notices: notices.New(notices.Config{Events: &events.Broker{}})})
	return h
}

func (h *host) must(errs ...error) {
	h.t.Helper()
	if err := errors.Join(errs...); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) write(path, text string) { h.must(os.WriteFile(h.base+path, []byte(text), 0o640)) }

// archive copies from the container and returns the names in the archive.
func (h *host) archive(path string) ([]string, error) {
	var buf bytes.Buffer
	if err := h.CopyFrom(h.t.Context(), "web", path, func(Stat) error { return nil }, &buf); err != nil {
		return nil, err
	}
	var names []string
	for r := tar.NewReader(&buf); ; {
		t, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		h.must(err)
		names = append(names, t.Name)
	}
}

func archiveOf(t *testing.T, names ...string) io.Reader {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, name := range names {
		h := &tar.Header{Name: name, Mode: 0o640, Uid: 7, Gid: 8, Size: int64(len(name))}
		if strings.HasSuffix(name, "/") {
			h.Typeflag, h.Size, h.Mode = tar.TypeDir, 0, 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			_, _ = io.WriteString(w, name)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &buf
}

func TestStatResolvesWithinContainer(t *testing.T) {
	h := newHost(t)
	h.must(os.MkdirAll(h.base+"/root/dir/sub", 0o755), os.Symlink("/dir", h.base+"/root/link"),
		os.Symlink("../../../../etc/passwd", h.base+"/root/out"), os.Symlink("loop", h.base+"/root/loop"))
	h.write("/root/file", "12345")
	for path, want := range map[string]Stat{
		"/file": {Name: "file", Size: 5}, "file": {Name: "file", Size: 5}, "/dir": {Name: "dir"},
		"/dir/":  {Name: "dir"},
		"/dir/.": {Name: "."}, "/": {Name: "."}, "/dir/sub/..": {Name: "."}, "/link": {Name: "link", Link: "/dir"},
		"/link/sub": {Name: "sub"}, "/out": {Name: "out", Link: "/etc/passwd"},
	} {
		got, err := h.Stat(t.Context(), "web", path)
		if err != nil || got.Name != want.Name || got.Link != want.Link || want.Size > 0 && got.Size != want.Size {
			t.Errorf("%s: got %+v, %v", path, got, err)
		}
	}
	for path, kind := range map[string]fault.Kind{"/none": fault.NotFound, "/none/below": fault.NotFound,
		"/file/": fault.Invalid, "/file/.": fault.Invalid, "/loop/x": fault.Invalid, "/out/": fault.NotFound,
		"/etc/hosts": fault.Busy} {
		if _, err := h.Stat(t.Context(), "web", path); !fault.Is(err, kind) {
			t.Errorf("%s: got %v, want kind %d", path, err, kind)
		}
	}
	if _, err := h.Stat(t.Context(), "nosuch", "/"); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown container: got %v", err)
	}
}

// The volumes and bind mounts of a stopped container are where its processes would see them.
func TestCopyReachesMountsOfStoppedContainer(t *testing.T) {
	h, mode := newHost(t), uint32(0o700)
	h.must(h.Store.DeleteContainer(strings.Repeat("a", 64)))
	h.must(h.Store.AddContainer(&container.Container{ID: strings.Repeat("b", 64), Status: container.Exited,
		ImageID: "sha256:aa",
		Config: container.Config{Name: "web", Mounts: []container.Mount{
			{Type: container.VolumeMount, Source: "volume", Target: "/data/vol"},
			{Type: container.VolumeMount, Source: "volume", Subpath: "sub", Target: "/data/vol/sub/again",
				ReadOnly: true},
			{Source: h.base + "/bound", Target: "/bound"}, {Source: h.base + "/missing", Target: "/missing"},
			{Type: container.ImageMount, ImageID: "sha256:aa", Target: "/image", Subpath: "below"},
			{Type: container.TmpfsMount, Target: "/scratch", TmpfsMode: &mode}}}}))
	h.write("/volume/inside", "x")
	h.must(os.MkdirAll(h.base+"/image/below/dir", 0o755), os.MkdirAll(h.base+"/root/scratch/hidden", 0o755))
	h.must(os.Mkdir(h.base+"/volume/sub/again", 0o755))

	for path, want := range map[string][]string{
		"/data/vol": {"vol/", "vol/inside", "vol/sub/", "vol/sub/again/", "vol/sub/again/again/"},
		"/data": {"data/", "data/vol/", "data/vol/inside", "data/vol/sub/", "data/vol/sub/again/",
			"data/vol/sub/again/again/"},
		"/bound": {"bound/"}, "/image": {"image/", "image/dir/"}, "/scratch": {"scratch/"},
	} {
		if got, err := h.archive(path); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v; want %q", path, got, err, want)
		}
	}
	for path, kind := range map[string]fault.Kind{"/missing": fault.Busy, "/scratch/hidden": fault.NotFound} {
		if _, err := h.archive(path); !fault.Is(err, kind) {
			t.Errorf("%s: got %v", path, err)
		}
	}
	for path, text := range map[string]string{"/scratch": "exists only while the container runs",
		"/image/dir": "marked read-only"} {
		err := h.CopyTo(t.Context(), Target{Ref: "web", Path: path}, archiveOf(t, "new"))
		if !fault.Is(err, fault.Busy) || !strings.Contains(err.Error(), text) {
			t.Errorf("copy to %s: got %v, want %s", path, err, text)
		}
	}

	h.must(h.CopyTo(t.Context(), Target{Ref: "web", Path: "/bound"}, archiveOf(t, "new")))
	if data, err := os.ReadFile(h.base + "/bound/new"); err != nil || string(data) != "new" {
		t.Errorf("bind mount: got %q, %v", data, err)
	}
	err := h.CopyTo(t.Context(), Target{Ref: "web", Path: "/data/vol/sub/again"}, archiveOf(t, "new"))
	if !fault.Is(err, fault.Busy) || !strings.Contains(err.Error(), "marked read-only") {
		t.Errorf("read-only volume: got %v", err)
	}
	if !slices.Contains(h.released, "volume") || !slices.Contains(h.released, "image") {
		t.Error("volumes or images are not released")
	}
}

func TestCopyToKeepsOrSetsOwners(t *testing.T) {
	h := newHost(t)
	h.must(os.MkdirAll(h.base+"/root/dir", 0o755))
	for keep, want := range map[bool]uint32{false: 0, true: 7} {
		h.must(h.CopyTo(t.Context(), Target{Ref: "web", Path: "/dir", KeepOwner: keep}, archiveOf(t, "./", "made")))
		var st unix.Stat_t
		h.must(unix.Stat(h.base+"/root/dir/made", &st))
		if st.Uid != want {
			t.Errorf("keep %v: got owner %d", keep, st.Uid)
		}
		h.must(unix.Stat(h.base+"/root/dir", &st))
		if st.Uid != 0 {
			t.Errorf("keep %v: the directory itself has owner %d", keep, st.Uid)
		}
	}
}

// Clients send archives compressed too; testcontainers sends all of them with gzip.
func TestCopyToDecompressesArchive(t *testing.T) {
	h := newHost(t)
	h.must(os.MkdirAll(h.base+"/root/dir", 0o755))
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := io.Copy(w, archiveOf(t, "made"))
	h.must(err, w.Close())
	cut := bytes.Clone(packed.Bytes()[:packed.Len()-12])

	h.must(h.CopyTo(t.Context(), Target{Ref: "web", Path: "/dir"}, &packed))
	if text, err := os.ReadFile(h.base + "/root/dir/made"); string(text) != "made" {
		t.Errorf("got %q, %v", text, err)
	}
	err = h.CopyTo(t.Context(), Target{Ref: "web", Path: "/dir"}, bytes.NewReader(cut))
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("cut archive: got %v", err)
	}
}

// Bad input is refused, and a full disk is no fault of the input.
func TestCopyToRefusesBadInput(t *testing.T) {
	h := newHost(t)
	h.must(os.MkdirAll(h.base+"/root/dir/sub", 0o755))
	h.write("/root/file", "")
	for what, tc := range map[string]struct {
		path string
		in   io.Reader
		kind fault.Kind
	}{
		"outside":          {"/dir", archiveOf(t, "../../out"), fault.Invalid},
		"not an archive":   {"/dir", strings.NewReader(strings.Repeat("x", 600)), fault.Invalid},
		"file over a dir":  {"/dir", archiveOf(t, "sub"), fault.Invalid},
		"target is a file": {"/file", archiveOf(t, "x"), fault.Invalid},
		"no target":        {"/none", archiveOf(t, "x"), fault.NotFound},
		"full disk": {"/dir", func() io.Reader {
			var buf bytes.Buffer
			w := tar.NewWriter(&buf)
			h.must(w.WriteHeader(&tar.Header{Name: "big", Size: 2 << 20, Mode: 0o600}))
			_, err := w.Write(bytes.Repeat([]byte("x"), 2<<20))
			h.must(err, w.Close())
			return &buf
		}(), fault.Unavailable},
	} {
		if err := h.CopyTo(t.Context(), Target{Ref: "web", Path: tc.path}, tc.in); !fault.Is(err, tc.kind) {
			t.Errorf("%s: got %v, want kind %d", what, err, tc.kind)
		}
	}
	if _, err := os.Stat(h.base + "/out"); err == nil {
		t.Error("a file was written outside")
	}
}

func TestWritesRespectReadOnlyRoot(t *testing.T) {
	h := newHost(t)
	_, err := h.Store.UpdateContainer(strings.Repeat("a", 64), func(c *container.Container) *container.Container {
		n := *c
		n.Config.Security.ReadOnly = true
		n.Config.Mounts = []container.Mount{{Source: h.base + "/bound", Target: "/bound"}}
		return &n
	})
	h.must(err)
	err = h.CopyTo(t.Context(), Target{Ref: "web", Path: "/"}, archiveOf(t, "x"))
	if !fault.Is(err, fault.Busy) || !strings.Contains(err.Error(), "container rootfs is marked read-only") {
		t.Errorf("root: got %v", err)
	}
	h.must(h.CopyTo(t.Context(), Target{Ref: "web", Path: "/bound"}, archiveOf(t, "x")))
}
