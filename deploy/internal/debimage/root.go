package debimage

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// merged lists the top-level directories that Debian has below /usr.
var merged = []string{"bin", "sbin", "lib", "lib64"}

// pruned lists what images do not need.
var pruned = []string{"usr/share/doc", "usr/share/man", "usr/share/lintian", "usr/share/locale", "usr/lib/*/gconv",
	"etc/init.d", "etc/ufw", "etc/logrotate.d"}

// makeLayer unpacks packages into a directory, completes it and writes it as a layer.
func makeLayer(ctx context.Context, root string, debs []string, finish func(string) error) (v1.Layer, error) {
	for _, name := range merged {
		err := errors.Join(os.MkdirAll(filepath.Join(root, "usr", name), 0o755),
			os.Symlink("usr/"+name, filepath.Join(root, name)))
		if err != nil {
			return nil, err
		}
	}

	for _, deb := range debs {
		if err := unpack(ctx, deb, root); err != nil {
			return nil, err
		}
	}

	for _, pattern := range pruned {
		found, _ := filepath.Glob(filepath.Join(root, pattern))
		for _, path := range found {
			if err := os.RemoveAll(path); err != nil {
				return nil, err
			}
		}
	}

	if err := finish(root); err != nil {
		return nil, err
	}

	file := root + ".tar"
	if err := archive(root, file); err != nil {
		return nil, err
	}

	return tarball.LayerFromFile(file)
}

// unpack unpacks a package. Its /lib is unpacked to /usr/lib through the link.
func unpack(ctx context.Context, deb, root string) error {
	_, err := run(ctx, "", "sh", "-c", `dpkg-deb --fsys-tarfile "$1" | tar -x -p --keep-directory-symlink -C "$2"`, "unpack", deb, root)
	return err
}

// archive writes a directory as a reproducible tar file: all files are owned by root and have a
// fixed time.
func archive(root, file string) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := tar.NewWriter(f)
	err = filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		return addFile(w, path, strings.TrimPrefix(path, root+"/"))
	})

	return errors.Join(err, w.Close())
}

func addFile(w *tar.Writer, path, name string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}

	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err = os.Readlink(path); err != nil {
			return err
		}
	}

	from, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}

	h := &tar.Header{Typeflag: from.Typeflag, Name: name, Linkname: target, Mode: from.Mode, Size: from.Size}
	if info.IsDir() {
		h.Name += "/"
	}

	if err := w.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
		return err
	}

	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// busyboxRoot creates the links of busybox and the files that programs expect.
func busyboxRoot(root string) error {
	names, err := run(context.Background(), "", filepath.Join(root, "bin/busybox"), "--list")
	if err != nil {
		return err
	}

	for _, name := range strings.Fields(names) {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}

	if err := os.MkdirAll(filepath.Join(root, "tmp"), 0o755); err != nil {
		return err
	}

	return errors.Join(
		os.Chmod(filepath.Join(root, "tmp"), 0o777|fs.ModeSticky),
		write(root, "etc/passwd",
			"root:x:0:0:root:/root:/bin/sh\n"+
				"www-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
		write(root, "etc/group", "root:x:0:\nadm:x:4:www-data\nwww-data:x:33:\nnogroup:x:65534:\n"),
		write(root, "root/.profile", ""))
}

// nginxRoot removes Debian's configuration of nginx; nginxConfig adds one for a container.
func nginxRoot(root string) error {
	return errors.Join(
		os.RemoveAll(filepath.Join(root, "etc/nginx/sites-enabled")),
		os.MkdirAll(filepath.Join(root, "var/log/nginx"), 0o755),
		os.MkdirAll(filepath.Join(root, "var/lib/nginx"), 0o755),
		os.MkdirAll(filepath.Join(root, "run"), 0o755))
}

func nginxConfig(root string) error {
	return write(root, "etc/nginx/nginx.conf", `user www-data;
worker_processes 1;
error_log /dev/stderr notice;
pid /run/nginx.pid;
events { worker_connections 512; }
http {
  include mime.types;
  access_log /dev/stdout;
  server {
    listen 80;
    listen [::]:80;
    root /usr/share/nginx/html;
  }
}
`)
}

func write(root, name, content string) error {
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func architecture() string { return runtime.GOARCH }
