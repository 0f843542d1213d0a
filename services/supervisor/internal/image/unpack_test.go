package image_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
	"github.com/fairlead/fairlead/services/supervisor/internal/rootfs"
	"github.com/fairlead/fairlead/services/supervisor/internal/rootfs/testmnt"
)

// inRootFS pulls an image and calls f with its root file system.
func inRootFS(t *testing.T, look func(root string), layers ...v1.Layer) {
	t.Helper()
	testns.NeedRoot(t)
	r, h := newReg(t), newHost(t)
	img := h.pull(r.push("app", imageOf(t, layers...)))
	testmnt.Do(t, func() {
		root, err := rootfs.New(filepath.Join(h.dir, "containers")).Mount(context.Background(), id.New(),
			h.LayerPaths(img))
		if err != nil {
			t.Fatal(err)
		}
		look(root)
	})
}

func TestWhiteoutsHideLowerFiles(t *testing.T) {
	low := layerOf(t, entry{name: "keep", body: "low"}, entry{name: "gone", body: "low"},
		entry{name: "back", body: "low"},
		entry{name: "dir/"}, entry{name: "dir/gone", body: "low"}, entry{name: "dir/keep", body: "low"},
		entry{name: "gonedir/"}, entry{name: "gonedir/x", body: "low"},
		entry{name: "opaque/"}, entry{name: "opaque/old", body: "low"},
		entry{name: "again/"}, entry{name: "again/old", body: "low"},
		entry{name: "again2/"}, entry{name: "again2/old", body: "low"})
	high := layerOf(t, entry{name: ".wh.gone"}, entry{name: "back", body: "high"}, entry{name: ".wh.back"},
		entry{name: "dir/"}, entry{name: "dir/.wh.gone"}, entry{name: ".wh.gonedir"},
		entry{name: "opaque/"}, entry{name: "opaque/.wh..wh..opq"}, entry{name: "opaque/new", body: "high"},
		entry{name: "again/"}, entry{name: "again/new", body: "high"}, entry{name: ".wh.again"},
		entry{name: ".wh.again2"}, entry{name: "again2/"}, entry{name: "again2/new", body: "high"})
	inRootFS(t, func(root string) {
		want := []string{"again", "again/new", "again2", "again2/new", "back", "dir", "dir/keep", "keep", "opaque",
			"opaque/new"}
		if got := tree(t, root); !slices.Equal(got, want) {
			t.Errorf("got %v,\nwant %v", got, want)
		}
		if data, _ := os.ReadFile(filepath.Join(root, "back")); string(data) != "high" {
			t.Errorf("back: got %q, want high", data)
		}
	}, low, high)
}

// netRaw is cap_net_raw+ep as the kernel stores it (struct vfs_ns_cap_data, revision 2). A change
// of the file's owner removes it.
const netRaw = "\x01\x00\x00\x02\x00\x20\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func TestUnpackKeepsAttributes(t *testing.T) {
	inRootFS(t, func(root string) {
		stat := func(name string) *syscall.Stat_t {
			fi, err := os.Lstat(filepath.Join(root, name))
			if err != nil {
				t.Fatal(err)
			}
			return fi.Sys().(*syscall.Stat_t)
		}
		if s := stat("bin/su"); s.Mode&0o7777 != 0o4755 || s.Uid != 12 || s.Gid != 12 {
			t.Errorf("bin/su: got mode %o and owner %d:%d, want 4755 and 12:12", s.Mode&0o7777, s.Uid, s.Gid)
		}

		if a, b := stat("bin/su"), stat("bin/sudo"); a.Ino != b.Ino || a.Nlink != 2 {
			t.Errorf("bin/sudo is not a hard link to bin/su")
		}

		if to, err := os.Readlink(filepath.Join(root, "sbin")); err != nil || to != "/bin" {
			t.Errorf("sbin: got target %q, %v; want /bin", to, err)
		}

		if s := stat("tmp"); s.Mode&0o7777 != 0o1777 {
			t.Errorf("tmp: got mode %o, want 1777", s.Mode&0o7777)
		}

		if s := stat("dev/null"); s.Mode&syscall.S_IFMT != syscall.S_IFCHR || s.Rdev != unix.Mkdev(1, 3) {
			t.Errorf("dev/null: got mode %o and device %x", s.Mode, s.Rdev)
		}

		buf := make([]byte, 64)
		n, err := unix.Getxattr(filepath.Join(root, "bin/ping"), "security.capability", buf)
		if err != nil || string(buf[:n]) != netRaw {
			t.Errorf("security.capability: got %q, %v; want %q", buf[:max(n, 0)], err, netRaw)
		}
	}, layerOf(t, entry{name: "bin/"}, entry{name: "bin/su", mode: 0o4755, uid: 12, body: "x"},
		entry{name: "bin/ping", uid: 12, body: "x", pax: map[string]string{"SCHILY.xattr.security.capability": netRaw}},
		entry{name: "bin/sudo", kind: tar.TypeLink, link: "bin/su", mode: 0o4755, uid: 12},
		entry{name: "sbin", kind: tar.TypeSymlink, link: "/bin"}, entry{name: "tmp/", mode: 0o1777},
		entry{name: "dev/"}, entry{name: "dev/null", kind: tar.TypeChar, mode: 0o666, dev: [2]int64{1, 3}}))
}

func TestImpliedDirectoryInheritsAttributes(t *testing.T) {
	inRootFS(t, func(root string) {
		for name, want := range map[string]uint32{"tmp": 0o1777, "home": 0o755, "home/me": 0o700, "new": 0o755} {
			fi, err := os.Stat(filepath.Join(root, name))
			if err != nil {
				t.Fatal(err)
			}
			if got := fi.Sys().(*syscall.Stat_t); got.Mode&0o7777 != want || (name == "home/me") != (got.Uid == 1000) {
				t.Errorf("%s: got mode %o and owner %d, want mode %o", name, got.Mode&0o7777, got.Uid, want)
			}
		}
	}, layerOf(t, entry{name: "tmp/", mode: 0o1777}, entry{name: "home/"}, entry{name: "home/me/", mode: 0o700,
		uid: 1000}),
		layerOf(t, entry{name: "tmp/a"}, entry{name: "home/me/x"}, entry{name: "new/file"}),
		layerOf(t, entry{name: "tmp/b"}))
}

func TestArchiveStaysInDirectory(t *testing.T) {
	outside := t.TempDir()
	target := filepath.Join(outside, "target")
	if err := os.WriteFile(target, []byte("untouched"), 0o644); err != nil {
		t.Fatal(err)
	}

	up := strings.Repeat("../", 40)
	for what, entries := range map[string][]entry{
		"dots":              {{name: up + target[1:], body: "x"}},
		"dots in the midst": {{name: "a/" + up + target[1:], body: "x"}},
		"absolute":          {{name: target, body: "x"}},
		"absolute symlink":  {{name: "l", kind: tar.TypeSymlink, link: outside}, {name: "l/target", body: "x"}},
		"relative symlink": {{name: "l", kind: tar.TypeSymlink, link: up + outside[1:]},
			{name: "l/target", body: "x"}},
		"symlink to itself": {{name: "l", kind: tar.TypeSymlink, link: target}, {name: "l", body: "x"}},
		"chain of symlinks": {{name: "a", kind: tar.TypeSymlink, link: ".."},
			{name: "b", kind: tar.TypeSymlink, link: "a/" + up + outside[1:]}, {name: "b/target", body: "x"}},
		"hard link":         {{name: "h", kind: tar.TypeLink, link: target}, {name: "h", body: "x"}},
		"hard link by dots": {{name: "h", kind: tar.TypeLink, link: up + target[1:]}},
		"hard link through a symlink": {{name: "l", kind: tar.TypeSymlink, link: outside},
			{name: "h", kind: tar.TypeLink, link: "l/target"},
			{name: "h", body: "x"}},
		"whiteout by symlink":  {{name: "l", kind: tar.TypeSymlink, link: outside}, {name: "l/.wh.target"}},
		"whiteout of dots":     {{name: "a/"}, {name: "a/.wh..."}, {name: "a/.wh.."}},
		"opaque by symlink":    {{name: "l", kind: tar.TypeSymlink, link: outside}, {name: "l/.wh..wh..opq"}},
		"directory by symlink": {{name: "l", kind: tar.TypeSymlink, link: outside}, {name: "l/", mode: 0o777, uid: 7}},
		"overlay's own xattr": {{name: "d/", pax: map[string]string{"SCHILY.xattr.trusted.overlay.redirect": "/" +
			up}}, {name: "d/x"}},
	} {
		t.Run(what, func(t *testing.T) {
			testns.NeedRoot(t)
			h := newHost(t)
			img, err := h.Import(context.Background(), image.ImportRequest{}, bytes.NewReader(tarOf(t, entries...)))
			if err != nil && !fault.Is(err, fault.Invalid) {
				t.Errorf("got %v, want an Invalid fault or success", err)
			}

			data, _ := os.ReadFile(target)
			if string(data) != "untouched" || !slices.Equal(tree(t, outside), []string{"target"}) {
				t.Errorf("a file outside was changed: %q, %v", data, tree(t, outside))
			}

			if fi, _ := os.Stat(outside); fi.Sys().(*syscall.Stat_t).Uid != 0 {
				t.Error("the owner of the directory outside was changed")
			}

			var st syscall.Stat_t
			if err := syscall.Stat(target, &st); err != nil || st.Nlink != 1 {
				t.Errorf("a hard link to a file outside was created: %v", err)
			}

			if err != nil {
				h.mustBeEmpty()
				return
			}

			if n, _ := unix.Lgetxattr(filepath.Join(h.LayerPaths(img)[0], "d"), "trusted.overlay.redirect",
				make([]byte, 64)); n > 0 {
				t.Error("an archive set an overlayfs attribute")
			}
		})
	}
}

func TestLayerCompressionFormats(t *testing.T) {
	r, h := newReg(t), newHost(t)
	plain := tarOf(t, entry{name: "plain", body: "x"})
	packed := tarOf(t, entry{name: "zstd", body: "y"})
	var z bytes.Buffer
	w, err := zstd.NewWriter(&z)
	if err != nil {
		t.Fatal(err)
	}

	if _, err := w.Write(packed); err != nil {
		t.Fatal(err)
	}

	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	img := h.pull(r.push("app", imageOf(t, static.NewLayer(plain, types.OCIUncompressedLayer),
		zstdLayer{static.NewLayer(z.Bytes(), types.OCILayerZStd), packed}, layerOf(t, entry{name: "gzip", body: "z"}))))
	for i, name := range []string{"plain", "zstd", "gzip"} {
		if !exists(filepath.Join(h.LayerPaths(img)[i], name)) {
			t.Errorf("layer %d: file %s does not exist", i, name)
		}
	}
}

// zstdLayer is a zstd layer that knows its diff ID.
type zstdLayer struct {
	v1.Layer
	plain []byte
}

func (z zstdLayer) DiffID() (v1.Hash, error) {
	h, _, err := v1.SHA256(bytes.NewReader(z.plain))
	return h, err
}

// smallDisk mounts a file system of 1 MiB for one test, in its own mount namespace.
func smallDisk(t *testing.T) string {
	t.Helper()
	testns.NeedRoot(t)
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fs)
	if err := errors.Join(unix.FsconfigSetString(fs, "size", "1m"), unix.FsconfigCreate(fs)); err != nil {
		t.Fatal(err)
	}

	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = unix.Close(mnt) })
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), mnt)
}

func TestFullDiskIsReportedAndFreed(t *testing.T) {
	r, disk := newReg(t), smallDisk(t)
	h := newHost(t, func(c *image.Config) { c.Root = filepath.Join(disk, "images") })
	big := layerOf(t, entry{name: "big", body: strings.Repeat("0", 4<<20)})
	ref := r.push("app", imageOf(t, manyFiles(t, "a", 3), big))
	_, err := h.Pull(context.Background(), image.PullRequest{Reference: ref})
	if !fault.Is(err, fault.Exhausted) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("pull: got %v, want an Exhausted fault", err)
	}

	_, err = h.Import(context.Background(), image.ImportRequest{},
		bytes.NewReader(tarOf(t, entry{name: "big", body: strings.Repeat("0", 4<<20)})))
	if !fault.Is(err, fault.Exhausted) {
		t.Errorf("import: got %v, want an Exhausted fault", err)
	}

	_, err = h.Load(context.Background(), io.LimitReader(zeros{}, 4<<20), "")
	if !fault.Is(err, fault.Exhausted) {
		t.Errorf("load: got %v, want an Exhausted fault", err)
	}

	if got := tree(t, disk+"/"); !slices.Equal(got, []string{"images", "images/layers"}) {
		t.Errorf("not removed: %v", got)
	}

	h.pull(r.push("small", imageOf(t, manyFiles(t, "b", 3))))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
