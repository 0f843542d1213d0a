// Package localtree archives and unpacks files of this host for the command cp. What is unpacked stays
// below one directory, whatever the archive has.
package localtree

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fairlead/fairlead/ctl/internal/copyspec"
)

// maxLinks bounds how many symlinks of a destination are followed, as in Docker.
const maxLinks = 10

// Source describes a path to copy from. A symlink is only followed with follow, or with a slash after
// it. resolved is the path to archive.
func Source(name string, follow bool) (p copyspec.Path, resolved string, err error) {
	resolved = filepath.Clean(name)
	if follow || copyspec.NeedsDirectory(name) {
		if resolved, err = filepath.EvalSymlinks(resolved); err != nil {
			return p, "", err
		}
	}
	st, err := os.Lstat(resolved)
	if err != nil {
		return p, "", err
	}
	if copyspec.NeedsDirectory(name) && !st.IsDir() {
		return p, "", fmt.Errorf("%s: not a directory", name)
	}
	abs, err := absolute(name)
	return copyspec.Path{Name: abs, Exists: true, IsDir: st.IsDir()}, resolved, err
}

// Destination describes a path to copy to. Symlinks are followed. The parent directory must exist.
func Destination(name string) (copyspec.Path, error) {
	name, err := absolute(name)
	if err != nil {
		return copyspec.Path{}, err
	}
	for range maxLinks {
		st, err := os.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return missing(name)
		case err != nil:
			return copyspec.Path{}, err
		case st.Mode().Type() != fs.ModeSymlink:
			return copyspec.Path{Name: name, Exists: true, IsDir: st.IsDir()}, nil
		}

		target, err := os.Readlink(name)
		if err != nil {
			return copyspec.Path{}, err
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(name), target)
		}
		name = target
	}
	return copyspec.Path{}, fmt.Errorf("%s: too many symlinks", name)
}

func missing(name string) (copyspec.Path, error) {
	dir, _ := copyspec.Split(name)
	st, err := os.Stat(dir)
	if err == nil && !st.IsDir() {
		err = fmt.Errorf("%s: not a directory", dir)
	}
	return copyspec.Path{Name: name}, err
}

// absolute keeps a slash or /. at the end.
func absolute(name string) (string, error) {
	abs, err := filepath.Abs(name)
	switch {
	case abs == "/":
	case filepath.Base(name) == "." && name != "":
		abs += "/."
	case strings.HasSuffix(name, "/"):
		abs += "/"
	}
	return abs, err
}

// Write archives a file or directory. Its entry is called top. Sockets are left out.
func Write(ctx context.Context, w io.Writer, name, top string) error {
	out := tar.NewWriter(w)
	err := filepath.WalkDir(name, func(at string, d fs.DirEntry, err error) error {
		if err = errors.Join(err, ctx.Err()); err != nil || d.Type()&fs.ModeSocket != 0 {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(name, at)
		if err != nil {
			return err
		}
		return entry(out, at, copyspec.Rename(rel, ".", top), info)
	})
	return errors.Join(err, out.Close())
}

func entry(out *tar.Writer, at, name string, info fs.FileInfo) (err error) {
	link := ""
	if info.Mode().Type() == fs.ModeSymlink {
		if link, err = os.Readlink(at); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name, h.Uname, h.Gname, h.Format = name, "", "", tar.FormatPAX
	if !info.Mode().IsRegular() {
		return out.WriteHeader(h)
	}

	f, err := os.Open(at)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	if _, err := io.CopyN(out, f, h.Size); err != nil {
		return fmt.Errorf("read %s: %w", at, err)
	}
	return nil
}
