package localtree

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/fairlead/fairlead/ctl/internal/copyspec"
)

// Into says how Extract unpacks.
type Into struct {
	Dir       string // an existing directory
	From, To  string // the new name of the top entry
	KeepOwner bool   // keep the user and group IDs of the archive
}

// Extract unpacks an archive into a directory. No entry can be outside of it. An error leaves
// the files that were complete before.
func Extract(in io.Reader, to Into) error {
	root, err := os.OpenRoot(to.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()

	x := extractor{root: root, in: tar.NewReader(in), to: to}
	for {
		h, err := x.in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("archive: %w", err)
		}
		if err := x.entry(h); err != nil {
			return &os.PathError{Op: "copy", Path: h.Name, Err: err}
		}
	}
	if _, err := io.Copy(io.Discard, in); err != nil { // an error of the agent can follow the archive
		return err
	}
	return x.finish()
}

type extractor struct {
	root *os.Root
	in   *tar.Reader
	to   Into
	dirs []*tar.Header
}

func (x *extractor) rename(name string) string {
	return copyspec.Rename(strings.TrimLeft(name, "/"), x.to.From, x.to.To)
}

func (x *extractor) entry(h *tar.Header) error {
	h.Name = x.rename(h.Name)
	if h.Typeflag == tar.TypeXGlobalHeader || h.Name == "." && h.Typeflag == tar.TypeDir {
		return nil // the directory itself keeps its attributes
	}
	if err := x.clear(h); err != nil {
		return err
	}

	switch h.Typeflag {
	case tar.TypeDir:
		x.dirs = append(x.dirs, h)
		if err := x.root.Mkdir(h.Name, 0o700); !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	case tar.TypeReg:
		return x.file(h)
	case tar.TypeSymlink:
		return errors.Join(x.root.Symlink(h.Linkname, h.Name), x.own(h))
	case tar.TypeLink:
		return x.root.Link(x.rename(h.Linkname), h.Name)
	}
	return errors.New("device nodes and FIFOs cannot be copied to this host; write an archive: cp CONTAINER:PATH -")
}

// clear removes what an entry replaces. A directory stays for a directory.
func (x *extractor) clear(h *tar.Header) error {
	st, err := x.root.Lstat(h.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if dir := path.Dir(h.Name); dir != "." {
			return x.root.MkdirAll(dir, 0o755)
		}
		return nil
	case err != nil:
		return err
	case st.IsDir() && h.Typeflag == tar.TypeDir:
		return nil
	case st.IsDir():
		return errors.New("cannot overwrite directory with non-directory")
	case h.Typeflag == tar.TypeDir:
		return errors.New("cannot overwrite non-directory with directory")
	}
	return x.root.Remove(h.Name)
}

// file writes a regular file. No part of it stays after an error.
func (x *extractor) file(h *tar.Header) error {
	f, err := x.root.OpenFile(h.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, x.in)
	if err == nil {
		err = x.own(h)
	}
	if err == nil {
		err = f.Chmod(h.FileInfo().Mode())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, x.root.Remove(h.Name))
	}
	return x.root.Chtimes(h.Name, h.ModTime, h.ModTime)
}

func (x *extractor) own(h *tar.Header) error {
	if !x.to.KeepOwner {
		return nil
	}
	return x.root.Lchown(h.Name, h.Uid, h.Gid)
}

// finish sets the attributes of directories last: their entries need write permission and change times.
func (x *extractor) finish() error {
	for i := len(x.dirs) - 1; i >= 0; i-- {
		h := x.dirs[i]
		st, err := x.root.Lstat(h.Name)
		if err != nil || !st.IsDir() {
			continue // a later entry replaced it
		}
		if err := errors.Join(x.own(h), x.root.Chmod(h.Name, h.FileInfo().Mode()),
			x.root.Chtimes(h.Name, h.ModTime, h.ModTime)); err != nil {
			return err
		}
	}
	return nil
}
